// The hint for a misspelt word.
import { describe, expect, it } from 'vitest';
import { nearest } from '../../../src/config/complaints.ts';

describe('the nearest known word', () => {
  const words = ['listen', 'upstreams', 'zones'];

  it('is the one with the fewest edits, up to two', () => {
    expect(nearest('listn', words)).toBe('listen');
    expect(nearest('upsteam', words)).toBe('upstreams');
    expect(nearest('Zones', words)).toBe('zones');
  });

  it('is none for a word that resembles nothing, and for no words', () => {
    expect(nearest('metrics', words)).toBeUndefined();
    expect(nearest('listen', [])).toBeUndefined();
  });
});
