// `weir health`: asks a running weir whether it is well. For container health checks, where there is no curl.
import { request } from 'node:http';
import { loadConfig, processEnvironment } from '../config/load.ts';
import { EXIT } from './exit.ts';
import type { ExitCode } from './exit.ts';

const ANSWER_MS = 3000;

/** Exit 0 when /healthz answers 200, else 1 with the reason. A port of 0 can't be asked: the ready line tells the real one. */
export async function health(options: {
  readonly file: string | undefined;
  readonly say: (text: string) => void;
  readonly complain: (text: string) => void;
}): Promise<ExitCode> {
  const loaded = loadConfig({ file: options.file, env: processEnvironment(), cwd: process.cwd() });
  if (!loaded.ok) {
    for (const problem of loaded.problems) options.complain(problem);
    return EXIT.badConfig;
  }
  const endpoint = loaded.config.admin.listen[0];
  if (endpoint === undefined || endpoint.port === 0) {
    options.complain('admin.listen has port 0: health needs a fixed port');
    return EXIT.badConfig;
  }
  const any: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  const answer = await ask(any[endpoint.address] ?? endpoint.address, endpoint.port);
  if (answer.ok) options.say('healthy\n');
  else options.complain(`not healthy: ${answer.why}`);
  return answer.ok ? EXIT.stopped : EXIT.badConfig;
}

function ask(host: string, port: number): Promise<{ ok: true } | { ok: false; why: string }> {
  return new Promise((resolve) => {
    const asked = request({ host, port, path: '/healthz', timeout: ANSWER_MS }, (response) => {
      response.resume();
      const { statusCode } = response;
      resolve(
        statusCode === 200
          ? { ok: true }
          : { ok: false, why: `/healthz answered ${statusCode ?? 'nothing'}` },
      );
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    asked.on('error', (error: Error & { code?: string }) =>
      resolve({ ok: false, why: error.code ?? error.message }),
    );
    asked.end();
  });
}
