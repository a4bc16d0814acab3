// All runs, live.
import { Button, CloseButton, Group, NativeSelect, Switch, TextInput } from '@mantine/core';
import { IconPlayerPlay, IconSearch } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useNames, useRuns } from '../api/hooks';
import { kfp } from '../api/kfp';
import type { RunObject } from '../api/types';
import { DataTable } from '../components/DataTable';
import { toastDone, toastError, useConfirm } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { runColumns } from '../components/runColumns';
import { plural } from '../lib/format';
import { matches, title } from '../lib/runs';
import { actionsFor, look, type AnyState, type RunActions } from '../lib/state';
import { LinkButton } from '../components/LinkButton';

const route = getRouteApi('/app/runs');
const states: AnyState[] = ['RUNNING', 'PENDING', 'SUCCEEDED', 'FAILED', 'CANCELING', 'CANCELED'];

export function Runs() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs' });
  const { items, error } = useRuns();
  const names = useNames();
  const columns = useMemo(() => runColumns(names), [names]);
  const rows = useMemo(() => (items ?? []).filter((run) => matches(run, search)), [items, search]);
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, page: undefined, ...patch }), replace: true });
  const filtered = search.q !== undefined || search.state !== undefined || search.experiment !== undefined || search.pipeline !== undefined;
  const experiment = names.experiment(search.experiment) ?? search.experiment;

  return (
    <Page
      title={search.archived ? 'Archived runs' : 'Runs'}
      subtitle={experiment === undefined ? 'Every execution of a pipeline on this box.' : `Of the experiment ${experiment}.`}
      actions={<LinkButton to="/runs/new" search={{ experiment: search.experiment }} leftSection={<IconPlayerPlay size={15} aria-hidden />}>Start a run</LinkButton>}
    >
      <Group gap="xs">
        <TextInput
          aria-label="Filter by name"
          placeholder="Filter by name or id"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={search.q ?? ''}
          onChange={(event) => set({ q: event.currentTarget.value || undefined })}
          rightSection={search.q === undefined ? null : <CloseButton size="sm" aria-label="Clear the filter" onClick={() => set({ q: undefined })} />}
          w={240}
        />
        <NativeSelect
          aria-label="State"
          value={search.state ?? ''}
          onChange={(event) => set({ state: event.currentTarget.value || undefined })}
          data={[{ value: '', label: 'Any state' }, ...states.map((state) => ({ value: state, label: look(state).word }))]}
        />
        {(search.experiment !== undefined || search.pipeline !== undefined) && (
          <Button variant="default" onClick={() => set({ experiment: undefined, pipeline: undefined })} rightSection={<span aria-hidden>×</span>}>
            {search.experiment !== undefined ? `Experiment: ${experiment}` : `Pipeline: ${names.pipeline(search.pipeline) ?? search.pipeline}`}
          </Button>
        )}
        <Switch label="Archived" checked={search.archived ?? false} onChange={(event) => set({ archived: event.currentTarget.checked || undefined })} />
      </Group>
      {error !== null ? (
        <Problem error={error} what="list of runs" />
      ) : items === undefined ? (
        <Loading what="runs" />
      ) : (
        <DataTable
          label="Runs"
          rows={rows}
          columns={columns}
          rowId={(run) => run.metadata.name}
          rowLabel={title}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="-created"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          bulk={(selected, clear) => <Bulk selected={selected} clear={clear} />}
          empty={
            filtered || search.archived ? (
              <Empty title={search.archived && !filtered ? 'No archived runs' : 'No run matches'}>Change or clear the filters to see more.</Empty>
            ) : (
              <Empty
                title="No runs yet"
                action={<LinkButton to="/runs/new">Start a run</LinkButton>}
              >
                A run executes a pipeline once, with the parameters you give, and keeps its logs, metrics and files.
              </Empty>
            )
          }
        />
      )}
    </Page>
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
