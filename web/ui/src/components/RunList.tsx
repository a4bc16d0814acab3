// Runs as a list, everywhere the same: filters, one page at a time from the box, actions on what is selected.
import { Button, Group, NativeSelect } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useMemo, type ReactNode } from 'react';
import { useNames } from '../api/hooks';
import { kfp } from '../api/kfp';
import { useRunPage } from '../api/runPage';
import type { RunObject } from '../api/types';
import { plural } from '../lib/format';
import { canSort, title, type RunFilter } from '../lib/runs';
import { actionsFor, look, type AnyState, type RunActions } from '../lib/state';
import { DataTable, type TableView } from './DataTable';
import { toastDone, toastError, useConfirm } from './feedback';
import { NameFilter, StorageFilter } from './filters';
import { Empty, Loading, Problem } from './Page';
import { runColumns } from './runColumns';

const states: AnyState[] = ['RUNNING', 'PENDING', 'SUCCEEDED', 'FAILED', 'CANCELING', 'CANCELED'];
const SIZES = [10, 50, 200];

/** What of the list is in the URL. */
export type RunListSearch = Pick<RunFilter, 'q' | 'state'> & TableView & { size?: number; archived?: true };

interface Props {
  search: RunListSearch;
  set: (patch: RunListSearch) => void;
  /** Only the runs of this experiment. */
  experiment?: string;
  /** The list tells each run's experiment. */
  showExperiment?: boolean;
  /** More filters, after the list's own. */
  more?: ReactNode;
  /** What stands there while there is no run at all. */
  empty: ReactNode;
}

export function RunList({ search, set, experiment, showExperiment = true, more, empty }: Props) {
  const names = useNames();
  const columns = useMemo(
    () =>
      runColumns(names)
        .filter(({ id }) => showExperiment || id !== 'experiment')
        .map((column) => (canSort(column.id) ? column : { ...column, sortBy: undefined })),
    [names, showExperiment],
  );
  const { q, state, archived, sort = '-created', page, after } = search;
  const size = Math.min(search.size ?? 50, 200);
  const [settled] = useDebouncedValue(q, 200);
  const { data, error, refetch } = useRunPage({ filter: { q: q === undefined ? q : settled, state, experiment, archived: archived === true }, sort, size, after });
  const filter = (patch: RunListSearch) => set({ page: undefined, after: undefined, ...patch });
  const filtered = q !== undefined || state !== undefined;

  return (
    <>
      <Group gap="xs">
        <StorageFilter archived={archived} onChange={(next) => filter({ archived: next })} />
        <NameFilter value={q} placeholder="Filter by name or id" onChange={(next) => filter({ q: next })} />
        <NativeSelect
          aria-label="State"
          value={state ?? ''}
          onChange={(event) => filter({ state: event.currentTarget.value || undefined })}
          data={[{ value: '', label: 'Any state' }, ...states.map((each) => ({ value: each, label: look(each).word }))]}
        />
        {more}
        <NativeSelect
          aria-label="Rows per page"
          ml="auto"
          value={String(size)}
          onChange={(event) => filter({ size: Number(event.currentTarget.value) })}
          data={[...new Set([...SIZES, size])].sort((a, b) => a - b).map((each) => ({ value: String(each), label: `${each} rows` }))}
        />
      </Group>
      {error !== null && data === undefined ? (
        <Problem error={error} what="list of runs" onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Loading what="runs" />
      ) : (
        <DataTable
          key={`${experiment ?? ''} ${archived ?? ''}`}
          label="Runs"
          rows={data.rows as RunObject[]}
          remote={data}
          pageSize={size}
          columns={columns}
          rowId={(run) => run.metadata.name}
          rowLabel={title}
          view={{ sort, page, after }}
          defaultSort="-created"
          onView={(view) => set({ ...view, sort: view.sort === '-created' ? undefined : view.sort })}
          bulk={(selected, clear) => <Bulk selected={selected} clear={clear} />}
          empty={
            after !== undefined ? (
              <Empty title="Nothing is left on this page" action={<Button variant="default" onClick={() => filter({})}>Go to the first page</Button>} />
            ) : filtered ? (
              <Empty title="No run matches" action={<Button variant="default" onClick={() => filter({ q: undefined, state: undefined })}>Clear the filters</Button>}>
                {archived ? 'Among the archived runs.' : 'Archived runs are listed apart.'}
              </Empty>
            ) : archived ? (
              <Empty title="No archived runs">Archiving puts finished runs out of the way: select them in the list, and archive them.</Empty>
            ) : (
              empty
            )
          }
        />
      )}
    </>
  );
}

interface BulkAction {
  label: string;
  done: string;
  can: keyof RunActions;
  act: (id: string) => Promise<unknown>;
  ask?: string;
}
const bulkActions: BulkAction[] = [
  { label: 'Terminate', done: 'terminated', can: 'terminate', act: (id) => kfp.runAction(id, 'terminate') },
  { label: 'Archive', done: 'archived', can: 'archive', act: (id) => kfp.runAction(id, 'archive') },
  { label: 'Restore', done: 'restored', can: 'unarchive', act: (id) => kfp.runAction(id, 'unarchive') },
  { label: 'Delete', done: 'deleted', can: 'remove', act: (id) => kfp.deleteRun(id), ask: 'Their records and logs are removed for good.' },
];

function Bulk({ selected, clear }: { selected: RunObject[]; clear: () => void }) {
  const confirm = useConfirm();
  const apply = async (action: BulkAction, runs: RunObject[]) => {
    if (action.ask !== undefined) {
      const what = plural(runs.length, 'run');
      const yes = await confirm({ title: `${action.label} ${what}?`, body: action.ask, confirm: `${action.label} ${what}` });
      if (!yes) return;
    }
    const results = await Promise.allSettled(runs.map((run) => action.act(run.metadata.name)));
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    const good = results.length - failures.length;
    if (good > 0) toastDone(`${plural(good, 'run')} ${action.done}.`);
    if (failures.length > 0) toastError(`${plural(failures.length, 'run')} could not be ${action.done}`, failures[0]);
    clear();
  };
  return (
    <Group gap={6}>
      {bulkActions.map((action) => {
        const fitting = selected.filter((run) => actionsFor(run)[action.can]);
        if (fitting.length === 0) return null;
        return (
          <Button key={action.label} size="compact-sm" variant="default" onClick={() => void apply(action, fitting)}>
            {action.label} {fitting.length < selected.length ? `${fitting.length} of ${selected.length}` : ''}
          </Button>
        );
      })}
      <Button size="compact-sm" variant="subtle" onClick={clear}>Clear</Button>
    </Group>
  );
}
