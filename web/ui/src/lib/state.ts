// States as words, tones and sentences. Colour and icon follow the tone; the word is always shown beside them.
import type { RunObject, RunState, TaskObject, TaskState } from '../api/types';
import { duration, parseTime, plural, someOf } from './format';

export type Tone = 'ok' | 'bad' | 'run' | 'wait' | 'off' | 'cached';
export type AnyState = RunState | TaskState | 'NOT_REACHED' | 'SUSPENDED' | 'RESTARTING' | 'FINISHED' | 'KILLED' | 'WAITING' | 'STARTING' | 'SERVING' | 'STOPPING' | 'STOPPED';

interface StateLook {
  word: string;
  tone: Tone;
}

const looks: Record<AnyState, StateLook> = {
  PENDING: { word: 'Pending', tone: 'wait' },
  RUNNING: { word: 'Running', tone: 'run' },
  SUCCEEDED: { word: 'Succeeded', tone: 'ok' },
  CACHED: { word: 'Cached', tone: 'cached' },
  SKIPPED: { word: 'Skipped', tone: 'off' },
  FAILED: { word: 'Failed', tone: 'bad' },
  CANCELING: { word: 'Stopping', tone: 'wait' },
  CANCELED: { word: 'Terminated', tone: 'off' },
  PAUSED: { word: 'Paused', tone: 'wait' },
  SUSPENDED: { word: 'Suspended', tone: 'off' },
  RESTARTING: { word: 'Restarting', tone: 'run' },
  FINISHED: { word: 'Finished', tone: 'ok' },
  KILLED: { word: 'Killed', tone: 'off' },
  // Of what goes on until it is stopped: it runs, and nothing need be waited for.
  WAITING: { word: 'Waiting', tone: 'wait' },
  STARTING: { word: 'Starting', tone: 'run' },
  SERVING: { word: 'Running', tone: 'ok' },
  STOPPING: { word: 'Stopping', tone: 'wait' },
  STOPPED: { word: 'Stopped', tone: 'off' },
  NOT_REACHED: { word: 'Not reached', tone: 'off' },
};

export function look(state: string | undefined): StateLook {
  return looks[(state ?? 'PENDING') as AnyState] ?? { word: state ?? 'Unknown', tone: 'off' };
}

export const runState = (run: RunObject): RunState => run.status?.state ?? 'PENDING';
export const isFinished = (state: RunState): boolean =>
  state === 'SUCCEEDED' || state === 'FAILED' || state === 'CANCELED' || state === 'SKIPPED';
export const isArchived = (run: RunObject): boolean => run.spec.storageState === 'ARCHIVED';

export interface RunActions {
  terminate: boolean;
  retry: boolean;
  archive: boolean;
  unarchive: boolean;
  remove: boolean;
}

/** Only what makes sense now is offered. */
export function actionsFor(run: RunObject): RunActions {
  const state = runState(run);
  const archived = isArchived(run);
  return {
    terminate: state === 'PENDING' || state === 'RUNNING',
    retry: (state === 'FAILED' || state === 'CANCELED') && !archived,
    archive: !archived && isFinished(state),
    unarchive: archived,
    remove: isFinished(state),
  };
}

const inDag = (task: TaskObject) => task.spec.type === 'DAG';
export const taskState = (task: TaskObject): TaskState => task.status?.state ?? 'PENDING';
const taskLabel = (task: TaskObject) => task.spec.displayName ?? task.spec.name;

/** The run's state in one plain sentence. */
export function runSentence(run: RunObject, tasks: TaskObject[], totalTasks: number, now: number): string {
  const state = runState(run);
  const start = parseTime(run.status?.startTime) ?? parseTime(run.metadata.creationTimestamp);
  const took = start === undefined ? '' : duration((parseTime(run.status?.finishTime) ?? now) - start);
  const steps = tasks.filter((task) => !inDag(task));
  const by = (...states: TaskState[]) => steps.filter((task) => states.includes(taskState(task)));
  const done = by('SUCCEEDED', 'CACHED', 'SKIPPED').length;
  const cached = by('CACHED').length;
  const skipped = by('SKIPPED').length;
  const total = Math.max(totalTasks, steps.length);
  switch (state) {
    case 'PENDING':
      return 'Waiting to start.';
    case 'RUNNING': {
      const running = by('RUNNING').map(taskLabel);
      const failed = by('FAILED').map(taskLabel);
      const what = running.length === 0 ? '' : ` Now: ${someOf(running)}.`;
      const bad = failed.length === 0 ? '' : ` Failed so far: ${someOf(failed)}.`;
      return `Running for ${took}, ${done} of ${plural(total, 'step')} done.${what}${bad}`;
    }
    case 'SUCCEEDED': {
      const notes = [
        cached > 0 ? `${cached} from cache` : '',
        skipped > 0 ? `${skipped} skipped` : '',
      ].filter((note) => note !== '');
      return `Succeeded in ${took}: ${plural(steps.length, 'step')}${notes.length > 0 ? `, ${notes.join(', ')}` : ''}.`;
    }
    case 'FAILED': {
      const failed = by('FAILED');
      const first = failed[0];
      if (first === undefined) return `Failed after ${took}. ${run.status?.message ?? ''}`.trim();
      const why = first.status?.message;
      const names = someOf(failed.map(taskLabel));
      return `Failed after ${took}: ${names} failed${why !== undefined && failed.length === 1 ? ` (${why})` : ''}.`;
    }
    case 'CANCELING':
      return 'Stopping: the running steps are being terminated.';
    case 'CANCELED':
      return `Terminated after ${took}, with ${done} of ${plural(total, 'step')} done.`;
    case 'SKIPPED':
      return 'Skipped.';
    case 'PAUSED':
      return 'Paused.';
  }
}

export const toneWord: Record<Tone, string> = {
  ok: 'succeeded',
  bad: 'failed',
  run: 'running',
  wait: 'waiting',
  off: 'not run',
  cached: 'cached',
};
