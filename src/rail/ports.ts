// What the rail needs from outside (state) and what protocol code is given (Rail, Traffic). Types only.
import type { Decision, Ticket } from './decision.ts';
import type { SecurityEvent } from './event.ts';
import type { EventType } from './fields.ts';

/** All that protocol code may know of the rail. */
export interface Rail {
  /**
   * Judges one event and charges it, in one step. Must be called exactly once per event. Synchronous and total: never
   * throws, never awaits. A refusal has been recorded when it returns.
   */
  decide(event: SecurityEvent): Decision;
  /** Closes a ticket: frees its slots. Calling it again does nothing. Never throws. */
  finish(ticket: Ticket): void;
}

/** One line of ordinary traffic, for the log. Strings must already be bounded and free of secrets and query strings. */
export interface TrafficLine {
  readonly kind: 'request' | 'tunnel' | 'query' | 'malformed';
  readonly vm: string;
  readonly source: string;
  readonly [field: string]: string | number | boolean | undefined;
}

/** Where protocol code tells of traffic. Never blocks, never throws; drops and counts when the log can't keep up. */
export interface Traffic {
  note(line: TrafficLine): void;
}

/** Where an event type was judged how often: [type][allow, refuse]. Read by metrics. */
export interface Totals {
  count(type: EventType, refused: boolean): void;
}
