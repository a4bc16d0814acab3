// Choosing among runs: what the list, Home and the finder share. Pure.
import type { KfpRun, KubeObject, RunObject, WatchEvent } from '../api/types';
import { isArchived, runState } from './state';
import { parseTime } from './format';

export const createdAt = (run: RunObject): string => run.metadata.creationTimestamp;
export const title = (run: RunObject): string => run.spec.displayName ?? run.metadata.name;
export const startedAt = (run: RunObject): string | undefined => run.status?.startTime;
export const newestFirst = (runs: readonly RunObject[]): RunObject[] =>
  [...runs].sort((a, b) => createdAt(b).localeCompare(createdAt(a)));

export interface RunFilter {
  q?: string;
  state?: string;
  experiment?: string;
  archived?: boolean;
}

export function matches(run: RunObject, filter: RunFilter): boolean {
  if (isArchived(run) !== (filter.archived ?? false)) return false;
  if (filter.state !== undefined && runState(run) !== filter.state) return false;
  if (filter.experiment !== undefined && run.spec.experimentId !== filter.experiment) return false;
  const q = filter.q?.trim().toLowerCase();
  return q === undefined || q === '' || title(run).toLowerCase().includes(q) || run.metadata.name.startsWith(q);
}

/** The same choice in KFP's filter language; the experiment has a parameter of its own there. */
export function kfpFilter({ q, state, archived }: RunFilter): string {
  const word = q?.trim() ?? '';
  // The language has no "or": what looks like the beginning of an id is looked for among the ids.
  const key = /^[0-9a-f]{8}(-[0-9a-f-]*)?$/i.test(word) ? 'run_id' : 'display_name';
  const predicates = [
    { key: 'storage_state', operation: 'EQUALS', string_value: archived ? 'ARCHIVED' : 'AVAILABLE' },
    ...(state === undefined ? [] : [{ key: 'state', operation: 'EQUALS', string_value: state }]),
    ...(word === '' ? [] : [{ key, operation: 'IS_SUBSTRING', string_value: word }]),
  ];
  return JSON.stringify({ predicates });
}

/** The columns that the box can sort all runs by, as KFP names them. */
const sortKeys: Partial<Record<string, string>> = { name: 'display_name', state: 'state', created: 'created_at' };
export const canSort = (column: string): boolean => column in sortKeys;
export const kfpSort = (sort: string): string => `${sortKeys[sort.replace(/^-/, '')] ?? 'created_at'} ${sort.startsWith('-') ? 'desc' : 'asc'}`;

/** A run of the KFP API in the shape that a watch gives it. */
export function fromKfp(run: KfpRun): RunObject {
  const reference = run.pipeline_version_reference;
  const time = (text: string | undefined) => (text === undefined || text.startsWith('1970-') ? undefined : text);
  return {
    apiVersion: 'pipelines.kubeflow.org/v2beta1',
    kind: 'Run',
    metadata: { name: run.run_id, uid: run.run_id, resourceVersion: '', creationTimestamp: run.created_at ?? '' },
    spec: {
      displayName: run.display_name,
      description: run.description,
      experimentId: run.experiment_id,
      pipelineVersionReference: reference && { pipelineId: reference.pipeline_id, pipelineVersionId: reference.pipeline_version_id },
      storageState: run.storage_state,
    },
    status: {
      state: run.state,
      startTime: time(run.state_history?.find((each) => each.state === 'RUNNING')?.update_time),
      finishTime: time(run.finished_at),
      message: run.error?.message,
    },
  };
}

/** What changes make of one page: rows follow in place, those that no longer belong go; `ask` when the box has to say what the page holds now. */
export function revise(
  rows: readonly RunObject[],
  events: readonly WatchEvent<KubeObject>[],
  filter: RunFilter,
  first: boolean,
): { rows: readonly RunObject[]; ask: boolean } {
  let next: RunObject[] | undefined;
  let ask = false;
  for (const event of events) {
    if (event.type === 'BOOKMARK' || event.type === 'ERROR') continue;
    const run = event.object as RunObject;
    const at = (next ?? rows).findIndex((row) => row.metadata.name === run.metadata.name);
    const fits = event.type !== 'DELETED' && matches(run, filter);
    if (at < 0) {
      // New runs appear on the first page; the others stand still under the reader.
      ask ||= fits && first;
      continue;
    }
    next ??= [...rows];
    if (fits) next[at] = run;
    else {
      next.splice(at, 1);
      ask = true;
    }
  }
  return { rows: next ?? rows, ask };
}

/** How long it took or takes, for sorting. */
export function runtime(run: RunObject, now: number): number {
  const start = parseTime(run.status?.startTime);
  return start === undefined ? -1 : (parseTime(run.status?.finishTime) ?? now) - start;
}
