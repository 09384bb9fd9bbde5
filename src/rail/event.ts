// SecurityEvent: a fact about to be judged. Its shape follows the field registry; it never carries a verdict.
import type { EventType, FIELDS, FieldName } from './fields.ts';

type Kinds = { string: string; number: number; boolean: boolean };
type On<F extends FieldName> = (typeof FIELDS)[F]['on'][number];
type ValueOf<F extends FieldName> = Kinds[(typeof FIELDS)[F]['kind']];
type Always<T extends EventType> = {
  [
    F in FieldName as T extends On<F> ? ((typeof FIELDS)[F]['always'] extends true ? F : never) : never
  ]: ValueOf<F>;
};
type Sometimes<T extends EventType> = {
  [
    F in FieldName as T extends On<F> ? ((typeof FIELDS)[F]['always'] extends true ? never : F) : never
  ]?: ValueOf<F>;
};

/** An event of type T: fields stand under their registry names, dots and all, so that one thing has one name. */
export type EventOf<T extends EventType> = { readonly type: T } & Readonly<Always<T> & Sometimes<T>> & {
    /** True when identity refused the source: the rail then refuses the event, whatever the rules say. */
    readonly stranger?: true;
  };

export type SecurityEvent = { [T in EventType]: EventOf<T> }[EventType];

/** Who an event belongs to, as identity found it. Spread it into the event. */
export interface Subject {
  readonly vm: string;
  readonly profile: string;
  readonly source: string;
  readonly tenant?: string;
  readonly stranger?: true;
}
