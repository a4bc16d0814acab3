// Experiments in KFP's sense: named groups of runs.
import { Button, Group, Modal, Stack, Text, TextInput, Textarea } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState, type FormEvent } from 'react';
import { useExperiments, useRuns } from '../api/hooks';
import { kfp } from '../api/kfp';
import type { KfpExperiment, RunObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { attempt } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateIcon } from '../components/State';
import { Age } from '../components/Time';
import { newestFirst, title } from '../lib/runs';
import { isArchived, look, runState } from '../lib/state';

const route = getRouteApi('/app/experiments');
const nameOf = (experiment: KfpExperiment) => experiment.display_name ?? experiment.experiment_id;

export function Experiments() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/experiments' });
  const { data, error, refetch } = useExperiments();
  const { items: runs } = useRuns();
  const [creating, setCreating] = useState(false);

  const byExperiment = useMemo(() => {
    const groups = new Map<string, RunObject[]>();
    for (const run of newestFirst(runs ?? [])) {
      const id = run.spec.experimentId;
      if (id === undefined || isArchived(run)) continue;
      const group = groups.get(id);
      if (group === undefined) groups.set(id, [run]);
      else group.push(run);
    }
    return groups;
  }, [runs]);

  const columns = useMemo<Column<KfpExperiment>[]>(
    () => [
      {
        id: 'name',
        header: 'Experiment',
        sortBy: nameOf,
        cell: (experiment) => (
          <>
            <Link to="/runs" search={{ experiment: experiment.experiment_id }} className="kf-link" style={{ fontWeight: 500 }}>{nameOf(experiment)}</Link>
            {experiment.description !== undefined && <Text size="xs" c="dimmed">{experiment.description}</Text>}
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
      },
      { id: 'runs', header: 'Runs', sortBy: (experiment) => byExperiment.get(experiment.experiment_id)?.length ?? 0, cell: (experiment) => byExperiment.get(experiment.experiment_id)?.length ?? 0, width: 80, align: 'right' },
      { id: 'created', header: 'Created', sortBy: (experiment) => experiment.created_at ?? '', cell: (experiment) => <Age at={experiment.created_at} />, width: 120, minor: true },
    ],
    [byExperiment],
  );
  const rows = useMemo(() => (data ?? []).filter((experiment) => experiment.storage_state !== 'ARCHIVED'), [data]);

  return (
    <Page
      title="Experiments"
      subtitle="Groups of runs that belong together."
      actions={<Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>New experiment</Button>}
    >
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
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          empty={<Empty title="No experiments yet">An experiment groups runs, so that they can be found and compared.</Empty>}
        />
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="New experiment" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewExperiment onClose={() => setCreating(false)} />
      </Modal>
    </Page>
  );
}

function NewExperiment({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() === '') {
      setError('Give it a name.');
      return;
    }
    const ok = await attempt(
      () => kfp.createExperiment({ display_name: name.trim(), description: description.trim() || undefined }),
      `${name.trim()} was created.`,
      'The experiment could not be created',
    );
    await client.invalidateQueries({ queryKey: ['experiments'] });
    if (ok) onClose();
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} error={error} onChange={(event) => setName(event.currentTarget.value)} />
        <Textarea label="Description" autosize minRows={2} value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit">Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
