// All training jobs of a namespace, of every kind, live.
import { CloseButton, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { IconPlus, IconSearch } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { NAMESPACE } from '../api/hooks';
import { useJobs } from '../api/kube';
import type { JobObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { LinkButton } from '../components/LinkButton';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age } from '../components/Time';
import { JOB_KINDS, jobState, kindOf, replicaCount } from '../lib/jobs';
import { look, type AnyState } from '../lib/state';

const route = getRouteApi('/app/jobs');
const states: AnyState[] = ['RUNNING', 'PENDING', 'RESTARTING', 'SUCCEEDED', 'FAILED', 'SUSPENDED'];
const columns: Column<JobObject>[] = [
  {
    id: 'name',
    header: 'Job',
    sortBy: (job) => job.metadata.name,
    cell: (job) => (
      <Link
        to="/jobs/$ns/$plural/$name"
        params={{ ns: job.metadata.namespace ?? '', plural: kindOf(job)?.plural ?? '', name: job.metadata.name }}
        className="kf-link"
        style={{ fontWeight: 500 }}
      >
        {job.metadata.name}
      </Link>
    ),
  },
  { id: 'kind', header: 'Kind', sortBy: (job) => job.kind, cell: (job) => job.kind, width: 130 },
  { id: 'state', header: 'State', sortBy: (job) => look(jobState(job)).word, cell: (job) => <StateBadge state={jobState(job)} />, width: 140 },
  {
    id: 'replicas',
    header: 'Replicas done',
    sortBy: (job) => replicaCount(job).done,
    cell: (job) => {
      const { done, active, wanted } = replicaCount(job);
      return <>{done}/{wanted}{active > 0 && <Text span size="xs" c="dimmed"> · {active} active</Text>}</>;
    },
    width: 160,
  },
  { id: 'namespace', header: 'Namespace', cell: (job) => job.metadata.namespace, width: 140, minor: true },
  { id: 'created', header: 'Age', sortBy: (job) => job.metadata.creationTimestamp, cell: (job) => <Age at={job.metadata.creationTimestamp} />, width: 120 },
];

export function Jobs() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/jobs' });
  const { items, error } = useJobs(ns);
  const rows = useMemo(
    () =>
      (items ?? []).filter(
        (job) =>
          (search.q === undefined || job.metadata.name.includes(search.q)) &&
          (search.kind === undefined || job.kind === search.kind) &&
          (search.state === undefined || jobState(job) === search.state),
      ),
    [items, search.q, search.kind, search.state],
  );
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, page: undefined, ...patch }), replace: true });
  const filtered = search.q !== undefined || search.kind !== undefined || search.state !== undefined;
  const create = <LinkButton to="/jobs/new" search={{ ns: search.ns }} leftSection={<IconPlus size={15} aria-hidden />}>Create a job</LinkButton>;

  return (
    <Page title="Jobs" subtitle={`Training jobs of the namespace ${ns}.`} actions={create}>
      <Group gap="xs">
        <TextInput
          aria-label="Filter by name"
          placeholder="Filter by name"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={search.q ?? ''}
          onChange={(event) => set({ q: event.currentTarget.value || undefined })}
          rightSection={search.q === undefined ? null : <CloseButton size="sm" aria-label="Clear the filter" onClick={() => set({ q: undefined })} />}
          w={240}
        />
        <NativeSelect
          aria-label="Kind"
          value={search.kind ?? ''}
          onChange={(event) => set({ kind: event.currentTarget.value || undefined })}
          data={[{ value: '', label: 'Any kind' }, ...JOB_KINDS.map(({ kind }) => ({ value: kind, label: kind }))]}
        />
        <NativeSelect
          aria-label="State"
          value={search.state ?? ''}
          onChange={(event) => set({ state: event.currentTarget.value || undefined })}
          data={[{ value: '', label: 'Any state' }, ...states.map((state) => ({ value: state, label: look(state).word }))]}
        />
      </Group>
      {error !== null ? (
        <Problem error={error} what="list of jobs" />
      ) : items === undefined ? (
        <Loading what="jobs" />
      ) : (
        <DataTable
          label="Jobs"
          rows={rows}
          columns={columns}
          rowId={(job) => `${job.kind}/${job.metadata.name}`}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="-created"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          empty={
            filtered ? (
              <Empty title="No job matches">Change or clear the filters to see more.</Empty>
            ) : (
              <Empty title="No jobs yet" action={create}>A job trains a model in one or more replicas that find each other by themselves.</Empty>
            )
          }
        />
      )}
    </Page>
  );
}
