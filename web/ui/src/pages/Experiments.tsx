// Experiments in KFP's sense: named groups of runs.
import { ActionIcon, Button, Group, Menu, Modal, Stack, Text, TextInput, Textarea } from '@mantine/core';
import { IconArchive, IconArchiveOff, IconDots, IconPlus, IconTrash } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState, type FormEvent } from 'react';
import { useLiveExperiments, useRuns } from '../api/hooks';
import { kfp } from '../api/kfp';
import { queryClient } from '../api/queryClient';
import type { KfpExperiment, RunObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { toastDone } from '../components/feedback';
import { NameFilter, StorageFilter } from '../components/filters';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateIcon } from '../components/State';
import { Age } from '../components/Time';
import { isPutAway, nameOf, useExperimentActions } from '../components/useExperimentActions';
import { newestFirst, title } from '../lib/runs';
import { isArchived, look, runState } from '../lib/state';

const route = getRouteApi('/app/experiments');

export function Experiments() {
  const search = route.useSearch();
  const { archived = false } = search;
  const navigate = useNavigate({ from: '/experiments' });
  const { data, error, refetch } = useLiveExperiments();
  const { items: runs } = useRuns();
  const [creating, setCreating] = useState(false);

  const byExperiment = useMemo(() => {
    const groups = new Map<string, RunObject[]>();
    for (const run of newestFirst(runs ?? [])) {
      const id = run.spec.experimentId;
      if (id === undefined || (isArchived(run) && !archived)) continue;
      const group = groups.get(id);
      if (group === undefined) groups.set(id, [run]);
      else group.push(run);
    }
    return groups;
  }, [runs, archived]);

  const columns = useMemo<Column<KfpExperiment>[]>(
    () => [
      {
        id: 'name',
        header: 'Experiment',
        sortBy: nameOf,
        cell: (experiment) => (
          <>
            <Link to="/experiments/$experimentId" params={{ experimentId: experiment.experiment_id }} className="kf-link" style={{ fontWeight: 500, overflowWrap: 'anywhere' }}>{nameOf(experiment)}</Link>
            {experiment.description !== undefined && <Text size="xs" c="dimmed" lineClamp={1}>{experiment.description}</Text>}
          </>
        ),
      },
      {
        id: 'last',
        header: 'Last runs',
        cell: (experiment) => (
          <Group gap={0} ml={-4}>
            {(byExperiment.get(experiment.experiment_id) ?? []).slice(0, 6).map((run) => (
              <Link key={run.metadata.name} to="/runs/$runId" params={{ runId: run.metadata.name }} aria-label={`${title(run)}: ${look(runState(run)).word}`} title={`${title(run)}: ${look(runState(run)).word}`} style={{ padding: 4 }}>
                <StateIcon state={runState(run)} />
              </Link>
            ))}
          </Group>
        ),
        width: 180,
        minor: true,
      },
      { id: 'runs', header: 'Runs', sortBy: (experiment) => byExperiment.get(experiment.experiment_id)?.length ?? 0, cell: (experiment) => byExperiment.get(experiment.experiment_id)?.length ?? 0, width: 80, align: 'right' },
      { id: 'created', header: 'Created', sortBy: (experiment) => experiment.created_at ?? '', cell: (experiment) => <Age at={experiment.created_at} />, width: 120, minor: true },
      { id: 'actions', header: 'Actions', cell: (experiment) => <Actions experiment={experiment} />, width: 80, align: 'right' },
    ],
    [byExperiment],
  );
  const q = search.q?.toLowerCase();
  const rows = useMemo(
    () => (data ?? []).filter((experiment) => isPutAway(experiment) === archived && (q === undefined || nameOf(experiment).toLowerCase().includes(q))),
    [data, archived, q],
  );
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, page: undefined, ...patch }), replace: true });
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>New experiment</Button>;

  return (
    <Page title={archived ? 'Archived experiments' : 'Experiments'} subtitle="Groups of runs that belong together." actions={create}>
      <Group gap="xs">
        <StorageFilter archived={archived} onChange={(next) => set({ archived: next })} />
        <NameFilter value={search.q} onChange={(next) => set({ q: next })} />
      </Group>
      {error !== null && data === undefined ? (
        <Problem error={error} what="list of experiments" onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Loading what="experiments" />
      ) : (
        <DataTable
          label="Experiments"
          rows={rows}
          columns={columns}
          rowId={(experiment) => experiment.experiment_id}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="-created"
          onView={set}
          empty={
            q !== undefined ? (
              <Empty title="No experiment matches" action={<Button variant="default" onClick={() => set({ q: undefined })}>Clear the filter</Button>} />
            ) : archived ? (
              <Empty title="No archived experiments">Archiving puts an experiment and its runs out of the way, and deletes nothing.</Empty>
            ) : (
              <Empty title="No experiments yet" action={create}>An experiment groups runs, so that they can be found and compared.</Empty>
            )
          }
        />
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="New experiment" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewExperiment
          onClose={() => setCreating(false)}
          onDone={(made) => void navigate({ to: '/experiments/$experimentId', params: { experimentId: made.experiment_id }, search: {} })}
        />
      </Modal>
    </Page>
  );
}

function Actions({ experiment }: { experiment: KfpExperiment }) {
  const { archive, restore, remove } = useExperimentActions(experiment);
  return (
    <Menu position="bottom-end">
      <Menu.Target><ActionIcon aria-label={`Actions on ${nameOf(experiment)}`}><IconDots size={16} aria-hidden /></ActionIcon></Menu.Target>
      <Menu.Dropdown>
        {isPutAway(experiment) ? (
          <Menu.Item leftSection={<IconArchiveOff size={15} aria-hidden />} onClick={() => void restore()}>Restore</Menu.Item>
        ) : (
          <Menu.Item leftSection={<IconArchive size={15} aria-hidden />} onClick={() => void archive()}>Archive</Menu.Item>
        )}
        <Menu.Item leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function NewExperiment({ onClose, onDone }: { onClose: () => void; onDone: (made: KfpExperiment) => void }) {
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      const made = await kfp.createExperiment({ display_name: name.trim(), description: description.trim() || undefined });
      await queryClient.invalidateQueries({ queryKey: ['experiments'] });
      toastDone(`${nameOf(made)} was created.`);
      onDone(made);
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
      setBusy(false);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <Textarea label="Description" autosize minRows={2} value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" loading={busy}>Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
