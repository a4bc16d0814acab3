// One pipeline: its versions, and the chosen version's graph, parameters and YAML.
import { Button, Group, Menu, NativeSelect, Table, Tabs, Text, Stack, ActionIcon } from '@mantine/core';
import { IconDots, IconPlayerPlay, IconTrash, IconUpload } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useMemo, useState } from 'react';
import { usePipeline, useVersion, useVersions } from '../api/hooks';
import { kfp } from '../api/kfp';
import type { KfpPipelineVersion, PipelineSpec } from '../api/types';
import { CopyAs } from '../components/CopyAs';
import { attempt, useConfirm } from '../components/feedback';
import { Loading, Page, Problem } from '../components/Page';
import { Split } from '../components/Split';
import { TaskPanel } from '../components/TaskPanel';
import { Age } from '../components/Time';
import { UploadDialog } from '../components/UploadDialog';
import { plural, value } from '../lib/format';
import { flatten, rootParameters, stepCount, tree, unwrap } from '../lib/ir';
import { isRequired, typeWord } from '../lib/params';
import { curlGet, pythonStartRun } from '../lib/snippets';
import { LinkButton } from '../components/LinkButton';
import { patient } from '../lib/chunk';

const CodeView = lazy(patient(() => import('../components/CodeView')));
const RunGraph = lazy(patient(() => import('../graph/RunGraph')));
const route = getRouteApi('/app/pipelines/$pipelineId');

export function PipelinePage() {
  const { pipelineId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/pipelines/$pipelineId' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const [uploading, setUploading] = useState(false);
  const pipeline = usePipeline(pipelineId);
  const versions = useVersions(pipelineId);
  const versionId = search.version ?? versions.data?.[0]?.pipeline_version_id;
  const version = useVersion(pipelineId, versionId);
  const spec = unwrap(version.data?.pipeline_spec);
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });

  const name = pipeline.data?.display_name ?? pipeline.data?.name ?? pipelineId;
  const remove = async () => {
    const yes = await confirm({
      title: `Delete ${name}?`,
      body: `The pipeline and ${plural(versions.data?.length ?? 0, 'version')} of it are removed for good. Its runs stay.`,
      confirm: 'Delete the pipeline',
    });
    if (!yes) return;
    const ok = await attempt(() => kfp.deletePipeline(pipelineId), `${name} was deleted.`, 'The pipeline could not be deleted');
    if (!ok) return;
    await client.invalidateQueries({ queryKey: ['pipelines'] });
    await navigate({ to: '/pipelines', search: {} });
  };

  if (pipeline.error !== null && pipeline.data === undefined) {
    return <Page title="Pipeline" crumbs={[{ label: 'Pipelines', to: '/pipelines' }]}><Problem error={pipeline.error} what="pipeline" onRetry={() => void pipeline.refetch()} /></Page>;
  }
  if (pipeline.data === undefined) return <Loading what="the pipeline" />;

  return (
    <Page
      full
      title={name}
      crumbs={[{ label: 'Pipelines', to: '/pipelines' }]}
      subtitle={pipeline.data.description ?? (spec === undefined ? 'A pipeline.' : `${plural(stepCount(tree(spec)), 'step')}, ${plural(rootParameters(spec).length, 'parameter')}.`)}
      actions={
        <>
          <LinkButton to="/runs/new" search={{ pipeline: pipelineId, version: versionId }} leftSection={<IconPlayerPlay size={15} aria-hidden />}>Start a run</LinkButton>
          <Button variant="default" leftSection={<IconUpload size={15} aria-hidden />} onClick={() => setUploading(true)}>Upload a version</Button>
          {versionId !== undefined && (
            <CopyAs
              snippets={[
                { label: 'Get it with curl', kind: 'curl', text: curlGet(window.location.origin, `/apis/v2beta1/pipelines/${pipelineId}/versions/${versionId}`) },
                {
                  label: 'Run it with Python (kfp)',
                  kind: 'python',
                  text: pythonStartRun(window.location.origin, {
                    display_name: `${name} from Python`,
                    pipeline_version_reference: { pipeline_id: pipelineId, pipeline_version_id: versionId },
                    runtime_config: { parameters: Object.fromEntries(rootParameters(spec).flatMap(([key, p]) => (p.defaultValue === undefined ? [] : [[key, p.defaultValue]]))) },
                  }),
                },
              ]}
            />
          )}
          <Menu position="bottom-end">
            <Menu.Target><ActionIcon size={30} variant="default" aria-label="More actions"><IconDots size={16} aria-hidden /></ActionIcon></Menu.Target>
            <Menu.Dropdown>
              <Menu.Item leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete the pipeline</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </>
      }
    >
      <Tabs value={search.tab ?? 'graph'} onChange={(tab) => set({ tab: tab === 'graph' ? undefined : (tab ?? undefined) })} keepMounted={false} style={{ flex: 1, display: 'flex', flexDirection: 'column' }}>
        <Group justify="space-between" align="flex-end" wrap="wrap" gap="xs" style={{ borderBottom: '1px solid var(--kf-line)' }}>
          <Tabs.List style={{ borderBottom: 'none' }}>
            <Tabs.Tab value="graph">Graph</Tabs.Tab>
            <Tabs.Tab value="parameters">Parameters</Tabs.Tab>
            <Tabs.Tab value="yaml">YAML</Tabs.Tab>
            <Tabs.Tab value="versions">Versions ({versions.data?.length ?? '…'})</Tabs.Tab>
          </Tabs.List>
          <NativeSelect
            size="xs"
            aria-label="Version"
            mb={4}
            value={versionId ?? ''}
            onChange={(event) => set({ version: event.currentTarget.value })}
            data={(versions.data ?? []).map((v) => ({ value: v.pipeline_version_id, label: v.display_name ?? v.name ?? v.pipeline_version_id }))}
          />
        </Group>
        {version.error !== null && version.data === undefined && <Problem error={version.error} what="version" onRetry={() => void version.refetch()} />}
        <Tabs.Panel value="graph" style={{ flex: 1, display: 'flex' }} pt="sm">
          {spec === undefined ? <Loading what="the graph" /> : <SpecGraph key={versionId} spec={spec} />}
        </Tabs.Panel>
        <Tabs.Panel value="parameters" pt="sm">
          {spec !== undefined && <Parameters spec={spec} />}
        </Tabs.Panel>
        <Tabs.Panel value="yaml" pt="sm" style={{ flex: 1, display: 'flex' }}>
          <Suspense fallback={<Loading what="the YAML" />}>
            {version.data?.pipeline_spec !== undefined && <CodeView value={version.data.pipeline_spec} name={name} label={`YAML of ${name}`} />}
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="versions" pt="sm">
          <Versions pipelineId={pipelineId} versions={versions.data ?? []} />
        </Tabs.Panel>
      </Tabs>
      <UploadDialog
        opened={uploading}
        onClose={() => setUploading(false)}
        pipeline={{ id: pipelineId, name, versions: versions.data?.length ?? 0 }}
        onDone={({ versionId: made }) => {
          setUploading(false);
          set({ version: made, tab: undefined });
        }}
      />
    </Page>
  );
}

function SpecGraph({ spec }: { spec: PipelineSpec }) {
  const tasks = useMemo(() => tree(spec), [spec]);
  const [task, setTask] = useState<string>();
  const [panel, setPanel] = useState<string>();
  const ir = flatten(tasks).find((each) => each.path === task);
  return (
    <Split
      main={
        <Suspense fallback={<Loading what="the graph" />}>
          <RunGraph tasks={tasks} selected={task} onSelect={setTask} />
        </Suspense>
      }
      side={ir === undefined ? undefined : <TaskPanel path={ir.path} ir={ir} inRun={false} panel={panel} onPanel={setPanel} onClose={() => setTask(undefined)} />}
    />
  );
}

function Parameters({ spec }: { spec: PipelineSpec }) {
  const parameters = rootParameters(spec);
  if (parameters.length === 0) return <Text size="sm" c="dimmed">This pipeline takes no parameters.</Text>;
  return (
    <div className="kf-card">
      <Table aria-label="Parameters" fz="sm">
        <Table.Thead>
          <Table.Tr><Table.Th>Name</Table.Th><Table.Th>Type</Table.Th><Table.Th>Default</Table.Th><Table.Th>Description</Table.Th></Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {parameters.map(([name, parameter]) => (
            <Table.Tr key={name}>
              <Table.Td fw={500}>{name}</Table.Td>
              <Table.Td>{typeWord(parameter)}</Table.Td>
              <Table.Td className="kf-mono">{isRequired(parameter) ? 'required' : value(parameter.defaultValue)}</Table.Td>
              <Table.Td>{parameter.description}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Versions({ pipelineId, versions }: { pipelineId: string; versions: KfpPipelineVersion[] }) {
  const client = useQueryClient();
  const confirm = useConfirm();
  const remove = async (version: KfpPipelineVersion) => {
    const label = version.display_name ?? version.name ?? version.pipeline_version_id;
    if (!(await confirm({ title: `Delete the version ${label}?`, body: 'It is removed for good. Its runs stay.', confirm: 'Delete the version' }))) return;
    await attempt(() => kfp.deleteVersion(pipelineId, version.pipeline_version_id), `The version ${label} was deleted.`, 'The version could not be deleted');
    await client.invalidateQueries({ queryKey: ['versions', pipelineId] });
  };
  return (
    <Stack gap="xs">
      <div className="kf-card">
        <Table aria-label="Versions" fz="sm">
          <Table.Thead>
            <Table.Tr><Table.Th>Version</Table.Th><Table.Th>Description</Table.Th><Table.Th>Uploaded</Table.Th><Table.Th><span className="kf-hidden">Actions</span></Table.Th></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {versions.map((version, i) => (
              <Table.Tr key={version.pipeline_version_id}>
                <Table.Td>
                  <Link to="/pipelines/$pipelineId" params={{ pipelineId }} search={{ version: version.pipeline_version_id }} className="kf-link">
                    {version.display_name ?? version.name ?? version.pipeline_version_id}
                  </Link>
                  {i === 0 && <Text span size="xs" c="dimmed"> (latest)</Text>}
                </Table.Td>
                <Table.Td>{version.description}</Table.Td>
                <Table.Td><Age at={version.created_at} /></Table.Td>
                <Table.Td ta="right">
                  <ActionIcon size="sm" aria-label={`Delete the version ${version.display_name ?? version.pipeline_version_id}`} onClick={() => void remove(version)}>
                    <IconTrash size={15} aria-hidden />
                  </ActionIcon>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Stack>
  );
}
