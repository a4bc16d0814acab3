// Live lists: list, then watch from there, into TanStack Query's cache. One stream per path however many
// components look at it; none while the tab is hidden, because a browser allows six connections to one host
// over HTTP/1.1 and all tabs share them.
import { useQuery, type QueryClient } from '@tanstack/react-query';
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { ApiError, getJson, request } from './http';
import { queryClient } from './queryClient';
import type { KubeList, KubeObject, WatchEvent } from './types';
import { apply, backoff, Expired, fromList, LineSplitter, type Watched } from './watchCache';

/** How long a stream outlives its last viewer: long enough to move from page to page without listing again. */
const LINGER_MS = 3_000;
/** A stream silent for this long is opened again: it may have died without a sign (a tunnel, a sleeping laptop). */
const SILENCE_MS = 120_000;

const watchKey = (path: string) => ['watch', path] as const;

// ---- the app-wide connection state behind the "reconnecting" banner ----
const troubled = new Set<string>();
const listeners = new Set<() => void>();
function setTrouble(path: string, bad: boolean): void {
  if (troubled.has(path) === bad) return;
  if (bad) troubled.add(path);
  else troubled.delete(path);
  for (const listener of listeners) listener();
}
function onTrouble(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
export function useReconnecting(): boolean {
  return useSyncExternalStore(onTrouble, () => troubled.size > 0);
}

/** A batch of changes, or `undefined` after a gap: anything may be different now. */
export type OnChanges = (events: readonly WatchEvent<KubeObject>[] | undefined) => void;

class Watcher {
  viewers = 0;
  readonly followers = new Set<OnChanges>();
  private abort: AbortController | undefined;
  private lingering: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly path: string,
    private readonly client: QueryClient,
  ) {}

  enter(): void {
    this.viewers += 1;
    clearTimeout(this.lingering);
    this.resume();
  }

  leave(): void {
    this.viewers -= 1;
    if (this.viewers > 0) return;
    this.lingering = setTimeout(() => {
      this.pause();
      watchers.delete(this.path);
      this.client.removeQueries({ queryKey: watchKey(this.path), exact: true });
    }, LINGER_MS);
  }

  resume(): void {
    if (this.abort !== undefined || document.hidden) return;
    this.abort = new AbortController();
    void this.loop(this.abort.signal);
  }

  pause(): void {
    this.abort?.abort();
    this.abort = undefined;
    setTrouble(this.path, false);
  }

  private state(): Watched<KubeObject> | undefined {
    return this.client.getQueryData<Watched<KubeObject>>(watchKey(this.path));
  }

  private async loop(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (this.state() === undefined) await this.list();
        await this.stream(signal, () => {
          failures = 0;
          setTrouble(this.path, false);
        });
        // The server ended the stream in good order (time-out, shutdown): go on from where we were.
        failures = Math.max(failures, 1);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status === 401) return;
        if (error instanceof Expired || (error instanceof ApiError && error.status === 410)) {
          // Keep showing the old list until the new one is here.
          await this.list().catch(() => undefined);
          this.tell(undefined);
          failures += 1;
        } else {
          failures += 1;
          if (failures > 1) setTrouble(this.path, true);
        }
      }
      await sleep(backoff(failures - 1), signal);
    }
  }

  private tell(events: Parameters<OnChanges>[0]): void {
    for (const follower of this.followers) follower(events);
  }

  private list(): Promise<Watched<KubeObject>> {
    return this.client.fetchQuery({ queryKey: watchKey(this.path), queryFn: () => list(this.path), staleTime: 0 });
  }

  private async stream(outer: AbortSignal, alive: () => void): Promise<void> {
    const from = this.state();
    if (from === undefined) return;
    const inner = new AbortController();
    const stop = () => inner.abort();
    outer.addEventListener('abort', stop);
    let silence = setTimeout(stop, SILENCE_MS);
    try {
      const glue = this.path.includes('?') ? '&' : '?';
      const response = await request(
        `${this.path}${glue}watch=true&allowWatchBookmarks=true&resourceVersion=${encodeURIComponent(from.resourceVersion)}`,
        { signal: inner.signal },
      );
      if (response.body === null) return;
      alive();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const splitter = new LineSplitter();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
        const events = splitter.push(value).map((line) => JSON.parse(line) as WatchEvent<KubeObject>);
        const state = this.state();
        if (state === undefined) return;
        this.client.setQueryData(watchKey(this.path), apply(state, events));
        this.tell(events);
      }
    } catch (error) {
      // Our own silence timer is no failure, only a reason to open the stream again.
      if (inner.signal.aborted && !outer.aborted) return;
      throw error;
    } finally {
      clearTimeout(silence);
      outer.removeEventListener('abort', stop);
      inner.abort();
    }
  }
}

async function list(path: string): Promise<Watched<KubeObject>> {
  return fromList(await getJson<KubeList<KubeObject>>(path));
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const watchers = new Map<string, Watcher>();

function watcherOf(path: string): Watcher {
  let watcher = watchers.get(path);
  if (watcher === undefined) {
    watcher = new Watcher(path, queryClient);
    watchers.set(path, watcher);
  }
  return watcher;
}

let hiding: ReturnType<typeof setTimeout> | undefined;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiding);
  if (!document.hidden) for (const watcher of watchers.values()) watcher.resume();
  else hiding = setTimeout(() => watchers.forEach((watcher) => watcher.pause()), 2_000);
});

export interface Live<T> {
  /** undefined until the first list has arrived. */
  items: T[] | undefined;
  error: Error | null;
}

/** A live list of objects; `undefined` as path watches nothing. */
export function useWatch<T extends KubeObject>(path: string | undefined): Live<T> {
  useEffect(() => {
    if (path === undefined) return;
    const entered = watcherOf(path);
    entered.enter();
    return () => entered.leave();
  }, [path]);
  const { data, error } = useQuery({
    queryKey: watchKey(path ?? ''),
    queryFn: () => list(path ?? ''),
    enabled: path !== undefined,
    staleTime: Infinity,
    gcTime: Infinity,
  });
  const items = useMemo(() => (data === undefined ? undefined : ([...data.items.values()] as T[])), [data]);
  return { items, error: items === undefined ? error : null };
}

/** What changes in a list that is itself too long to hold. True once nothing can be missed any more. */
export function useChanges(path: string, onChanges: OnChanges): boolean {
  // One item is enough to learn from which version on to watch.
  const from = `${path}${path.includes('?') ? '&' : '?'}limit=1`;
  const { items, error } = useWatch(from);
  useEffect(() => {
    const { followers } = watcherOf(from);
    followers.add(onChanges);
    return () => void followers.delete(onChanges);
  }, [from, onChanges]);
  return items !== undefined || error !== null;
}
