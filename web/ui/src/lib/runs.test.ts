// Runs chosen in the box and kept current here must agree.
import { describe, expect, it } from 'vitest';
import type { RunObject, WatchEvent } from '../api/types';
import { fromKfp, kfpFilter, kfpSort, matches, revise } from './runs';

const run = (name: string, spec: Partial<RunObject['spec']> = {}): RunObject =>
  fromKfp({ run_id: name, display_name: name, experiment_id: spec.experimentId ?? 'e', storage_state: spec.storageState ?? 'AVAILABLE', state: 'RUNNING', created_at: '2026-01-01T00:00:00Z', finished_at: '1970-01-01T00:00:00Z' });
const event = (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: RunObject): WatchEvent<RunObject> => ({ type, object });
const names = (rows: readonly RunObject[]) => rows.map((row) => row.metadata.name);

describe('a page of runs', () => {
  const rows = [run('b'), run('a')];
  it('follows its rows in place, and asks for nothing', () => {
    const ended = { ...run('a'), status: { state: 'SUCCEEDED' as const } };
    const { rows: next, ask } = revise(rows, [event('MODIFIED', ended)], {}, true);
    expect(names(next)).toEqual(['b', 'a']);
    expect(next[1]?.status?.state).toBe('SUCCEEDED');
    expect(ask).toBe(false);
  });
  it('loses what no longer belongs, and asks for what moves up', () => {
    expect(revise(rows, [event('DELETED', run('b'))], {}, false)).toEqual({ rows: [rows[1]], ask: true });
    const put = revise(rows, [event('MODIFIED', run('a', { storageState: 'ARCHIVED' }))], {}, false);
    expect(names(put.rows)).toEqual(['b']);
  });
  it('asks for new runs on the first page only, and only for those it shows', () => {
    expect(revise(rows, [event('ADDED', run('c'))], {}, true)).toEqual({ rows, ask: true });
    expect(revise(rows, [event('ADDED', run('c'))], {}, false).ask).toBe(false);
    expect(revise(rows, [event('ADDED', run('c'))], { experiment: 'other' }, true).ask).toBe(false);
    expect(revise(rows, [{ type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } }], {}, true)).toEqual({ rows, ask: false });
  });
});

it('reads a run of the KFP API', () => {
  const made = fromKfp({ run_id: 'r', created_at: '2026-01-01T00:00:00Z', finished_at: '1970-01-01T00:00:00Z', state_history: [{ state: 'PENDING', update_time: '2026-01-01T00:00:00Z' }, { state: 'RUNNING', update_time: '2026-01-01T00:00:05Z' }] });
  expect(made.status).toMatchObject({ startTime: '2026-01-01T00:00:05Z', finishTime: undefined });
  expect(matches(made, {})).toBe(true);
});

it('writes the filter and the order as KFP reads them', () => {
  const keys = (filter: Parameters<typeof kfpFilter>[0]) =>
    (JSON.parse(kfpFilter(filter)) as { predicates: { key: string; string_value: string }[] }).predicates.map((p) => `${p.key}=${p.string_value}`);
  expect(keys({})).toEqual(['storage_state=AVAILABLE']);
  expect(keys({ archived: true, state: 'FAILED', q: ' nightly ' })).toEqual(['storage_state=ARCHIVED', 'state=FAILED', 'display_name=nightly']);
  expect(keys({ q: '0b6e1c2d-77' })).toContain('run_id=0b6e1c2d-77');
  expect(kfpSort('-created')).toBe('created_at desc');
  expect(kfpSort('name')).toBe('display_name asc');
  expect(kfpSort('-duration')).toBe('created_at desc');
});
