// The experiments that MLflow's clients have tracked in a namespace; without any, how to begin.
import { Button, Code, Group, Modal, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { NAMESPACE } from '../api/hooks';
import { mlflow } from '../api/mlflow';
import { CopyButton } from '../components/CopyAs';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, toastDone, useConfirm } from '../components/feedback';
import { NameFilter, StorageFilter } from '../components/filters';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { example, setUp, time, type TrackedExperiment } from '../lib/tracking';

const route = getRouteApi('/app/tracking');
/** Between two looks for what clients have made meanwhile, in milliseconds. */
const EVERY = 5000;

export function Tracking() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const deleted = search.archived ?? false;
  const navigate = useNavigate({ from: '/tracking' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const [creating, setCreating] = useState(false);
  const { data, error } = useQuery({ queryKey: ['tracked', ns, deleted], queryFn: ({ signal }) => mlflow.experiments(ns, deleted, signal), refetchInterval: EVERY });
  const again = () => client.invalidateQueries({ queryKey: ['tracked', ns] });
  const putAway = async (each: TrackedExperiment) => {
    if (!(await confirm({ title: `Delete the experiment ${each.name}?`, body: 'It and its runs go out of sight. They can be restored.', confirm: 'Delete the experiment' }))) return;
    await attempt(() => mlflow.deleteExperiment(ns, each.experiment_id), `${each.name} is deleted.`, 'The experiment could not be deleted');
    await again();
  };
  const takeBack = async (each: TrackedExperiment) => {
    await attempt(() => mlflow.restoreExperiment(ns, each.experiment_id), `${each.name} is back.`, 'The experiment could not be restored');
    await again();
  };
  const columns: Column<TrackedExperiment>[] = [
    {
      id: 'name',
      header: 'Experiment',
      sortBy: (each) => each.name,
      cell: (each) => <Link to="/tracking/$ns/experiments/$experimentId" params={{ ns, experimentId: each.experiment_id }} className="kf-link">{each.name}</Link>,
    },
    { id: 'updated', header: 'Changed', sortBy: (each) => each.last_update_time, cell: (each) => <Age at={time(each.last_update_time)} />, width: 140 },
    { id: 'created', header: 'Age', sortBy: (each) => each.creation_time, cell: (each) => <Age at={time(each.creation_time)} />, width: 140, minor: true },
    {
      id: 'actions',
      header: 'Actions',
      cell: (each) =>
        deleted ? <Button size="compact-xs" variant="default" aria-label={`Restore ${each.name}`} onClick={() => void takeBack(each)}>Restore</Button>
        : each.experiment_id === '0' ? null
        : <Button size="compact-xs" variant="default" aria-label={`Delete ${each.name}`} onClick={() => void putAway(each)}>Delete</Button>,
      width: 90,
    },
  ];
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>Create an experiment</Button>;
  const asked = search.q?.toLowerCase();
  const rows = (data ?? []).filter((each) => asked === undefined || each.name.toLowerCase().includes(asked));
  const fresh = !deleted && (data ?? []).every((each) => each.experiment_id === '0');
  return (
    <Page title="Tracking" subtitle={<>Experiments of the namespace {ns}, tracked by MLflow’s client.</>} actions={create}>
      {error !== null ? <Problem error={error} what="list of experiments" onRetry={() => void again()} /> : data === undefined ? <Loading what="experiments" /> : (
        <>
          <Group gap="sm">
            <NameFilter value={search.q} onChange={(q) => void navigate({ search: (before) => ({ ...before, q, page: undefined }), replace: true })} />
            <StorageFilter archived={deleted} onChange={(archived) => void navigate({ search: (before) => ({ ...before, archived, page: undefined }), replace: true })} />
          </Group>
          <DataTable
            label="Tracked experiments"
            rows={rows}
            columns={columns}
            rowId={(each) => each.experiment_id}
            view={{ sort: search.sort, page: search.page }}
            defaultSort="-updated"
            onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
            empty={<Empty title={asked === undefined ? 'No experiments here' : 'No experiment has this name'} />}
          />
          {fresh && <Begin ns={ns} />}
        </>
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="Create an experiment" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewExperiment ns={ns} onClose={() => setCreating(false)} onDone={again} />
      </Modal>
    </Page>
  );
}

/** How a program finds the box. */
function Begin({ ns }: { ns: string }) {
  const shell = setUp(window.location.origin, ns);
  return (
    <section className="kf-card" style={{ padding: 18, maxWidth: 860 }} aria-label="From Python">
      <Title order={2} mb={4}>From Python</Title>
      <Text size="sm" c="dimmed" mb="sm">The unmodified client (<Code>pip install mlflow</Code>) needs two settings:</Text>
      <Group align="flex-start" wrap="nowrap" gap={4} mb="sm">
        <Code block tabIndex={0} style={{ flex: 1, minWidth: 0 }}>{shell}</Code>
        <CopyButton text={shell} label="Copy the settings" />
      </Group>
      <Group align="flex-start" wrap="nowrap" gap={4}>
        <Code block tabIndex={0} style={{ flex: 1, minWidth: 0 }}>{example}</Code>
        <CopyButton text={example} label="Copy the code" />
      </Group>
    </section>
  );
}

function NewExperiment({ ns, onClose, onDone }: { ns: string; onClose: () => void; onDone: () => Promise<void> }) {
  const [name, setName] = useState('');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await mlflow.createExperiment(ns, name.trim());
      await onDone();
      toastDone(`${name.trim()} was created.`);
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={name.trim() === ''}>Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
