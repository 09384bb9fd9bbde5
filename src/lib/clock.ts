// Time as a port. Owns the only calls of Date.now and performance.now; everything else is handed a Clock.

/** Two clocks that must never be mixed. */
export interface Clock {
  /** Monotonic time in whole milliseconds, from an arbitrary origin; never goes back. All limits use it. */
  now(): number;
  /** Wall-clock time in milliseconds since 1970, for people and log lines only. */
  wall(): number;
}

// The monotonic clock starts one year in, so that no time stamp is ever 0 or negative.
const ORIGIN_MS = 31_536_000_000;

export const systemClock: Clock = {
  now: () => ORIGIN_MS + Math.floor(performance.now()),
  wall: () => Date.now(),
};
