// The queue with a lid.
import { describe, expect, it } from 'vitest';
import { BoundedQueue } from '../../../src/lib/queue.ts';

describe('a bounded queue', () => {
  it('gives back what it kept, in order, and is empty then', () => {
    const queue = new BoundedQueue<number>(3);
    expect([queue.push(1), queue.push(2)]).toEqual([true, true]);
    expect(queue.size).toBe(2);
    expect(queue.drain()).toEqual([1, 2]);
    expect(queue.size).toBe(0);
    expect(queue.drain()).toEqual([]);
  });

  it('never holds more than its limit: the newcomer is dropped, and counted', () => {
    const queue = new BoundedQueue<number>(2);
    for (let n = 0; n < 1000; n += 1) expect(queue.push(n)).toBe(n < 2);
    expect(queue.size).toBe(2);
    expect(queue.dropped).toBe(998);
    expect(queue.drain()).toEqual([0, 1]);
  });

  it('has room again once drained, and goes on counting', () => {
    const queue = new BoundedQueue<string>(1);
    queue.push('a');
    queue.push('b');
    const first = queue.drain();
    queue.push('c');
    expect([first, queue.drain(), queue.dropped]).toEqual([['a'], ['c'], 1]);
  });
});
