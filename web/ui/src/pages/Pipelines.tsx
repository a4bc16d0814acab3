// The pipelines of the box.
import { Button, CloseButton, Group, Text, TextInput } from '@mantine/core';
import { IconPlayerPlay, IconSearch, IconUpload } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useLivePipelines, useRuns } from '../api/hooks';
import type { KfpPipeline, RunObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age } from '../components/Time';
import { UploadDialog } from '../components/UploadDialog';
import { newestFirst } from '../lib/runs';
import { runState } from '../lib/state';
import { LinkButton } from '../components/LinkButton';

const route = getRouteApi('/app/pipelines');
const nameOf = (pipeline: KfpPipeline) => pipeline.display_name ?? pipeline.name ?? pipeline.pipeline_id;

export function Pipelines() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/pipelines' });
  const { data, error, refetch } = useLivePipelines();
  const { items: runs } = useRuns();

  const byPipeline = useMemo(() => {
    const latest = new Map<string, { run: RunObject; count: number }>();
    for (const run of newestFirst(runs ?? [])) {
      const id = run.spec.pipelineVersionReference?.pipelineId;
      if (id === undefined) continue;
      const known = latest.get(id);
      if (known === undefined) latest.set(id, { run, count: 1 });
      else known.count += 1;
    }
    return latest;
  }, [runs]);

  const columns = useMemo<Column<KfpPipeline>[]>(
    () => [
      {
        id: 'name',
        header: 'Pipeline',
        sortBy: nameOf,
        cell: (pipeline) => (
          <>
            <Link to="/pipelines/$pipelineId" params={{ pipelineId: pipeline.pipeline_id }} className="kf-link" style={{ fontWeight: 500 }}>
              {nameOf(pipeline)}
            </Link>
            {pipeline.description !== undefined && <Text size="xs" c="dimmed" lineClamp={1}>{pipeline.description}</Text>}
          </>
        ),
      },
      {
        id: 'latest',
        header: 'Latest run',
        cell: (pipeline) => {
          const latest = byPipeline.get(pipeline.pipeline_id);
          if (latest === undefined) return <Text span size="sm" c="dimmed">none</Text>;
          return (
            <Link to="/runs/$runId" params={{ runId: latest.run.metadata.name }} aria-label={`Latest run of ${nameOf(pipeline)}`} style={{ textDecoration: 'none' }}>
              <StateBadge state={runState(latest.run)} />
            </Link>
          );
        },
        width: 140,
      },
      {
        id: 'runs',
        header: 'Runs',
        sortBy: (pipeline) => byPipeline.get(pipeline.pipeline_id)?.count ?? 0,
        cell: (pipeline) => byPipeline.get(pipeline.pipeline_id)?.count ?? 0,
        width: 80,
        align: 'right',
        minor: true,
      },
      { id: 'created', header: 'Uploaded', sortBy: (pipeline) => pipeline.created_at ?? '', cell: (pipeline) => <Age at={pipeline.created_at} />, width: 120, minor: true },
      {
        id: 'start',
        header: 'Actions',
        cell: (pipeline) => (
          <LinkButton to="/runs/new" search={{ pipeline: pipeline.pipeline_id }} size="compact-xs" variant="default" leftSection={<IconPlayerPlay size={12} aria-hidden />} aria-label={`Start a run of ${nameOf(pipeline)}`}>
            Run
          </LinkButton>
        ),
        width: 80,
        align: 'right',
      },
    ],
    [byPipeline],
  );

  const q = search.q?.toLowerCase();
  const rows = useMemo(
    () => (data ?? []).filter((p) => q === undefined || nameOf(p).toLowerCase().includes(q) || (p.description ?? '').toLowerCase().includes(q)),
    [data, q],
  );
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const uploadButton = (
    <Button leftSection={<IconUpload size={15} aria-hidden />} onClick={() => set({ upload: true })}>Upload a pipeline</Button>
  );

  return (
    <Page title="Pipelines" subtitle="Compiled with the kfp SDK, kept on this box, ready to run." actions={uploadButton}>
      <TextInput
        aria-label="Filter pipelines"
        placeholder="Filter by name or description"
        leftSection={<IconSearch size={14} aria-hidden />}
        value={search.q ?? ''}
        onChange={(event) => set({ q: event.currentTarget.value || undefined, page: undefined })}
        rightSection={search.q === undefined ? null : <CloseButton size="sm" aria-label="Clear the filter" onClick={() => set({ q: undefined })} />}
        w={260}
      />
      {error !== null && data === undefined ? (
        <Problem error={error} what="list of pipelines" onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Loading what="pipelines" />
      ) : (
        <DataTable
          label="Pipelines"
          rows={rows}
          columns={columns}
          rowId={(pipeline) => pipeline.pipeline_id}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="-created"
          onView={set}
          empty={
            q === undefined ? (
              <Empty title="No pipelines yet" action={<Group>{uploadButton}</Group>}>
                A pipeline is a graph of steps, written in Python with the kfp SDK and compiled to one YAML file. Upload that file here.
              </Empty>
            ) : (
              <Empty title="No pipeline matches" />
            )
          }
        />
      )}
      <UploadDialog
        opened={search.upload === true}
        onClose={() => set({ upload: undefined })}
        onDone={({ pipelineId }) => void navigate({ to: '/pipelines/$pipelineId', params: { pipelineId }, search: {} })}
      />
    </Page>
  );
}
