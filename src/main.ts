// The program: arguments, signals, exit codes. Each command is one import, so that none pays for the others.
import { enableCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { EXIT } from './control/exit.ts';
import type { ExitCode } from './control/exit.ts';

enableCompileCache();

const USAGE = `weir: a DNS and HTTP forward proxy with a rate rail, for sandboxes

usage: weir <command> [--config FILE]

  run      start everything; prints one ready line with every address
  check    check configuration and rules, print the memory bound
  demo     half a minute, offline: a DNS tunnel and a request burst, and what was done about them
  health   ask a running weir whether it is healthy (exit 0 or 1); for containers

exit codes: 0 stopped or well, 1 bad configuration, 2 usage, 3 a listener could not be bound, 70 internal
`;

const say = (text: string): void => {
  process.stdout.write(text);
};
const complain = (text: string): void => {
  process.stderr.write(`weir: ${text}\n`);
};

function stopSignal(): Promise<unknown> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
}

async function command(name: string | undefined, file: string | undefined): Promise<ExitCode> {
  switch (name) {
    case 'run': {
      const stop = stopSignal();
      const { run } = await import('./control/run.ts');
      return run({ file, stop, complain, terminal: process.stdout.isTTY });
    }
    case 'check': {
      const { checkAll, summary } = await import('./control/check.ts');
      const checked = checkAll(file);
      if (checked.ok) say(summary(checked));
      else for (const problem of checked.problems) complain(problem);
      return checked.ok ? EXIT.stopped : EXIT.badConfig;
    }
    case 'demo': {
      const { demo } = await import('./control/demo.ts');
      return demo({ say, complain });
    }
    case 'health': {
      const { health } = await import('./control/health.ts');
      return health({ file, say, complain });
    }
    default:
      complain(name === undefined ? 'no command given' : `unknown command \`${name}\``);
      process.stderr.write(`\n${USAGE}`);
      return EXIT.usage;
  }
}

async function main(): Promise<ExitCode> {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
    return EXIT.usage;
  }
  const { values, positionals } = parsed;
  if (values.help === true || positionals[0] === 'help') {
    say(USAGE);
    return EXIT.stopped;
  }
  if (positionals.length > 1) {
    complain(`\`${positionals[1] ?? ''}\` is one word too many`);
    return EXIT.usage;
  }
  return command(positionals[0], values.config);
}

try {
  process.exitCode = await main();
} catch (error) {
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = EXIT.internal;
}
