// What is known of a thing that was thrown, whatever it was. Owns nothing; never throws itself.

/** The system's word for an error, such as ENOENT; undefined for anything that has none. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** One line for people. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
