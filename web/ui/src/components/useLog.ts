// A pod's log as a growing buffer. The stream is closed while the tab is hidden and taken up again at the byte
// where it stopped; when the box restarts it is opened again the same way.
import { useEffect, useRef, useState } from 'react';
import { ApiError, request } from '../api/http';
import { LogBuffer } from '../lib/logs';
import { backoff } from '../api/watchCache';

export type LogPhase = 'loading' | 'following' | 'ended' | 'waiting' | 'error';

export interface LogState {
  buffer: LogBuffer;
  /** Changes whenever the buffer has grown: what to re-render on. */
  version: number;
  phase: LogPhase;
  error?: string;
}

export function logPath(namespace: string, pod: string, follow: boolean, container?: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log?timestamps=true${follow ? '&follow=true' : ''}${container === undefined ? '' : `&container=${encodeURIComponent(container)}`}`;
}

/** `active`: the pod may still write, so follow it and wait for it to appear. */
export function useLog(namespace: string, pod: string, active: boolean, container?: string): LogState {
  const [state, setState] = useState<LogState>(() => ({ buffer: new LogBuffer(), version: 0, phase: 'loading' }));
  const activeRef = useRef(active);
  useEffect(() => {
    activeRef.current = active;
  }, [active]);

  useEffect(() => {
    const buffer = new LogBuffer();
    let phase: LogPhase = 'loading';
    let error: string | undefined;
    let version = 0;
    let frame = 0;
    let stopped = false;
    let abort: AbortController | undefined;

    const show = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        version += 1;
        setState({ buffer, version, phase, error });
      });
    };

    const read = async (signal: AbortSignal) => {
      const response = await request(logPath(namespace, pod, activeRef.current, container), { signal });
      phase = activeRef.current ? 'following' : 'loading';
      show();
      if (response.body === null) return;
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let skip = buffer.bytes;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        if (skip >= value.length) {
          skip -= value.length;
          continue;
        }
        const fresh = skip > 0 ? value.subarray(skip) : value;
        skip = 0;
        buffer.push(decoder.decode(fresh, { stream: true }), fresh.length);
        show();
      }
    };

    const loop = async (signal: AbortSignal) => {
      for (let attempt = 0; !signal.aborted; attempt += 1) {
        const wasActive = activeRef.current;
        try {
          await read(signal);
          attempt = 0;
          if (!wasActive) {
            buffer.end();
            phase = 'ended';
            show();
            return;
          }
        } catch (cause) {
          if (signal.aborted) return;
          const known = cause instanceof ApiError ? cause : undefined;
          if (known?.status === 401) return;
          if (!activeRef.current && known !== undefined && !known.unreachable) {
            phase = 'error';
            error = known.message;
            show();
            return;
          }
          phase = known !== undefined && !known.unreachable ? 'waiting' : phase;
          show();
        }
        await new Promise((resolve) => setTimeout(resolve, backoff(Math.min(attempt, 3))));
      }
    };

    const start = () => {
      if (stopped || document.hidden || phase === 'ended' || phase === 'error') return;
      abort?.abort();
      abort = new AbortController();
      void loop(abort.signal);
    };
    const onVisibility = () => {
      if (document.hidden) abort?.abort();
      else start();
    };
    document.addEventListener('visibilitychange', onVisibility);
    show();
    start();
    return () => {
      stopped = true;
      abort?.abort();
      cancelAnimationFrame(frame);
      document.removeEventListener('visibilitychange', onVisibility);
    };
  }, [namespace, pod, container]);

  return state;
}
