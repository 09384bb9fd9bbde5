// Exit codes of the program.
export const EXIT = { stopped: 0, badConfig: 1, usage: 2, notBound: 3, internal: 70 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
