// Times that move: one clock for the whole page, so that a thousand rows cost one timer.
import { useSyncExternalStore } from 'react';
import { age, dateTime, span } from '../lib/format';

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The time, ticking once a second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

export function Age({ at }: { at: string | undefined }) {
  const current = useNow();
  if (at === undefined) return null;
  return (
    <time dateTime={at} title={dateTime(at)} style={{ whiteSpace: 'nowrap' }}>
      {age(at, Math.max(current, Date.now() - 1000))}
    </time>
  );
}

export function Duration({ from, to }: { from: string | undefined; to: string | undefined }) {
  const current = useNow();
  return <span style={{ whiteSpace: 'nowrap' }}>{span(from, to, Math.max(current, Date.now() - 1000)) ?? '–'}</span>;
}
