// Where one artifact, run, commit or model comes from, and what came of it: as a graph, and in words.
import { Button, Code, Group, SegmentedControl, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useState, type ReactNode } from 'react';
import { NAMESPACE } from '../api/hooks';
import { kindWord, lineage, type LineageNode } from '../api/lineage';
import { CopyButton } from '../components/CopyAs';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { patient } from '../lib/chunk';
import { value } from '../lib/format';
import { placeOf } from '../lib/tracking';

const LineageGraph = lazy(patient(() => import('../graph/LineageGraph')));
const route = getRouteApi('/app/lineage');

export function LineagePage() {
  const { ns = NAMESPACE, of, direction = 'both', node } = route.useSearch();
  const navigate = useNavigate({ from: '/lineage' });
  const [typed, setTyped] = useState(of ?? '');
  const set = (patch: { of?: string; direction?: string; node?: string }) => void navigate({ search: (before) => ({ ...before, ...patch }) });
  const { data, error, refetch } = useQuery({
    queryKey: ['lineage', ns, of, direction],
    queryFn: ({ signal }) => lineage(ns, of ?? '', direction, signal),
    enabled: of !== undefined,
    retry: false,
  });
  const selected = data?.nodes.find((each) => each.id === (node ?? of));
  return (
    <Page title="Lineage" subtitle="Where data and models come from, and what came of them.">
      <Group gap="sm" align="flex-end">
        <form style={{ flex: '1 1 360px' }} onSubmit={(event) => { event.preventDefault(); set({ of: typed.trim() || undefined, node: undefined }); }}>
          <TextInput label="Of" placeholder="s3://bucket/model, run/<id>, dataset/<name>@<commit>, model/<name>/<version>" value={typed} onChange={(event) => setTyped(event.currentTarget.value)} />
        </form>
        <SegmentedControl aria-label="Direction" value={direction} onChange={(next) => set({ direction: next === 'both' ? undefined : next })} data={[{ value: 'up', label: 'Comes from' }, { value: 'both', label: 'Both' }, { value: 'down', label: 'Led to' }]} />
      </Group>
      {of === undefined ? <Empty title="What do you want to know of?">Follow “Lineage” from a model, a commit of a data set, a run or an artifact, or write its name above.</Empty> : error !== null ? <Problem error={error} what="lineage" onRetry={() => void refetch()} /> : data === undefined ? <Loading what="the lineage" /> : (
        <>
          <Suspense fallback={<Loading what="the graph" />}>
            <LineageGraph graph={data} of={of} selected={selected?.id} onSelect={(id) => set({ node: id })} />
          </Suspense>
          {selected !== undefined && <About ns={ns} node={selected} onAsk={selected.id === of ? undefined : () => { setTyped(selected.id); set({ of: selected.id, node: undefined }); }} />}
          <Words edges={data.edges} nodes={data.nodes} onSelect={(id) => set({ node: id })} />
        </>
      )}
    </Page>
  );
}

function About({ ns, node, onAsk }: { ns: string; node: LineageNode; onAsk?: () => void }) {
  const facts = Object.entries(node.facts ?? {}).filter(([, fact]) => fact !== '' && fact !== null);
  return (
    <section className="kf-card" style={{ padding: 12 }} aria-label={`About ${node.name}`}>
      <Group justify="space-between" mb="xs">
        <Title order={2}>{kindWord[node.kind]} {node.name}</Title>
        <Group gap="xs">
          <Place ns={ns} node={node} />
          {onAsk !== undefined && <Button size="compact-xs" variant="default" onClick={onAsk}>Show its lineage</Button>}
        </Group>
      </Group>
      <dl className="kf-facts">
        <dt>Name here</dt><dd className="kf-mono">{node.id} <CopyButton text={node.id} label="Copy the name" /></dd>
        {facts.map(([key, fact]) => [<dt key={`${key} t`}>{key}</dt>, <dd key={key}>{typeof fact === 'object' ? <Code>{JSON.stringify(fact)}</Code> : value(fact)}</dd>])}
      </dl>
    </section>
  );
}

/** Where the thing itself is looked at. */
function Place({ ns, node }: { ns: string; node: LineageNode }): ReactNode {
  const [, id = '', rest = ''] = /^[a-z-]+\/([^/@]+)[/@]?(.*)$/.exec(node.id) ?? [];
  if (node.kind === 'task') return <Link to="/runs/$runId" params={{ runId: id }} search={{ task: `root/${rest}` }} className="kf-link">Open the run</Link>;
  if (node.kind === 'tracked-run') return <Link to="/tracking/$ns/runs/$runId" params={{ ns, runId: id }} className="kf-link">Open the run</Link>;
  if (node.kind === 'commit') return <Link to="/datasets/$ns/$name" params={{ ns, name: id }} search={{ tab: 'compare', to: rest }} className="kf-link">Open the data set</Link>;
  if (node.kind === 'model-version') return <Link to="/models/$ns/$name" params={{ ns, name: id }} className="kf-link">Open the model</Link>;
  const place = placeOf(ns, node.id);
  if (place === undefined) return null;
  const prefix = place.prefix.replace(/[^/]*\/$/, '');
  return <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: place.bucket }} search={{ prefix: prefix || undefined }} className="kf-link">Open the bucket</Link>;
}

/** The same as the graph says, for who cannot see it. */
function Words({ nodes, edges, onSelect }: { nodes: LineageNode[]; edges: { from: string; to: string }[]; onSelect: (id: string) => void }) {
  const names = new Map(nodes.map((node) => [node.id, `${kindWord[node.kind]} ${node.name}`]));
  const list = (ids: string[]) => ids.map((id) => names.get(id) ?? id).join(', ') || '–';
  return (
    <Stack gap={4}>
      <Title order={2}>In words</Title>
      <Table.ScrollContainer type="native" minWidth={480}>
        <Table aria-label="Lineage in words" verticalSpacing={4} className="kf-card">
          <Table.Thead><Table.Tr><Table.Th>What</Table.Th><Table.Th>Comes from</Table.Th><Table.Th>Led to</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {nodes.map((node) => (
              <Table.Tr key={node.id}>
                <Table.Td><Button variant="subtle" size="compact-xs" onClick={() => onSelect(node.id)}>{names.get(node.id)}</Button></Table.Td>
                <Table.Td><Text size="sm">{list(edges.filter((edge) => edge.to === node.id).map((edge) => edge.from))}</Text></Table.Td>
                <Table.Td><Text size="sm">{list(edges.filter((edge) => edge.from === node.id).map((edge) => edge.to))}</Text></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}
