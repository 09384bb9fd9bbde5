// Words for what was thrown, whatever it was.
import { describe, expect, it } from 'vitest';
import { errorCode, errorText } from '../../../src/lib/error-text.ts';

describe('what was thrown', () => {
  it('has the system’s code if it is a system error', () => {
    expect(errorCode(Object.assign(new Error('gone'), { code: 'ENOENT' }))).toBe('ENOENT');
    for (const thrown of [new Error('x'), { code: 5 }, null, undefined, 'ENOENT', 7])
      expect(errorCode(thrown)).toBeUndefined();
  });

  it('is one line for people, even if it is no error', () => {
    expect(errorText(new Error('gone'))).toBe('gone');
    expect(errorText('gone')).toBe('gone');
    expect(errorText(undefined)).toBe('undefined');
  });
});
