// What a watch does to a list, as pure functions: splitting the stream into events, and applying them.
import type { KubeList, KubeObject, WatchEvent } from './types';

export interface Watched<T extends KubeObject> {
  resourceVersion: string;
  items: ReadonlyMap<string, T>;
}

const key = (object: KubeObject) => `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;

export function fromList<T extends KubeObject>(list: KubeList<T>): Watched<T> {
  return {
    resourceVersion: list.metadata.resourceVersion,
    items: new Map(list.items.map((item) => [key(item), item])),
  };
}

/** The server no longer knows our resourceVersion: list again. */
export class Expired extends Error {}

/** Applies a batch of events; an unchanged list keeps its identity, so that nothing re-renders for a bookmark. */
export function apply<T extends KubeObject>(state: Watched<T>, events: readonly WatchEvent<T>[]): Watched<T> {
  let { resourceVersion } = state;
  let items: Map<string, T> | undefined;
  for (const event of events) {
    if (event.type === 'ERROR') {
      if (event.object.code === 410) throw new Expired(event.object.message);
      throw new Error(event.object.message ?? 'the watch ended with an error');
    }
    resourceVersion = event.object.metadata.resourceVersion;
    if (event.type === 'BOOKMARK') continue;
    items ??= new Map(state.items);
    if (event.type === 'DELETED') items.delete(key(event.object));
    else items.set(key(event.object), event.object);
  }
  if (items === undefined && resourceVersion === state.resourceVersion) return state;
  return { resourceVersion, items: items ?? state.items };
}

/** Cuts newline-delimited JSON out of arbitrary chunks. */
export class LineSplitter {
  private rest = '';
  push(chunk: string): string[] {
    const parts = (this.rest + chunk).split('\n');
    this.rest = parts.pop() ?? '';
    return parts.filter((line) => line.trim() !== '');
  }
}

/** Waiting time before attempt n (0-based): quick at first, never more than ten seconds. */
export function backoff(attempt: number): number {
  return Math.min(10_000, 400 * 2 ** attempt);
}
