// Choosing among runs: what the list, Home and the finder share. Pure.
import type { RunObject } from '../api/types';
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
  pipeline?: string;
  archived?: boolean;
}

export function matches(run: RunObject, filter: RunFilter): boolean {
  if (isArchived(run) !== (filter.archived ?? false)) return false;
  if (filter.state !== undefined && runState(run) !== filter.state) return false;
  if (filter.experiment !== undefined && run.spec.experimentId !== filter.experiment) return false;
  if (filter.pipeline !== undefined && run.spec.pipelineVersionReference?.pipelineId !== filter.pipeline) return false;
  const q = filter.q?.trim().toLowerCase();
  return q === undefined || q === '' || title(run).toLowerCase().includes(q) || run.metadata.name.startsWith(q);
}

/** How long it took or takes, for sorting. */
export function runtime(run: RunObject, now: number): number {
  const start = parseTime(run.status?.startTime);
  return start === undefined ? -1 : (parseTime(run.status?.finishTime) ?? now) - start;
}
