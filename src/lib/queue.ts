// A queue with a lid. Owns the promise that a slow reader can never make a fast writer grow.

/** First in, first out, at most `limit` items; what doesn't fit is counted in `dropped`, never kept. */
export class BoundedQueue<T> {
  dropped = 0;
  #items: T[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#items.length;
  }

  /** Returns whether the item was kept. */
  push(item: T): boolean {
    if (this.#items.length >= this.#limit) {
      this.dropped += 1;
      return false;
    }
    this.#items.push(item);
    return true;
  }

  /** Takes everything out, in order. */
  drain(): T[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}
