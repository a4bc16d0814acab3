// Tracked runs side by side: what differs between them, and their curves on the same axes.
import { Switch, Table, Tabs, Text } from '@mantine/core';
import { useQueries } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { mlflow } from '../api/mlflow';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { RunCurves } from '../components/RunCurves';
import { StateBadge } from '../components/State';
import { plural } from '../lib/format';
import { columnId, columnOf, ownTags, shown, stateOf, valueOf, type Field, type TrackedRun } from '../lib/tracking';

const route = getRouteApi('/app/tracking/$ns/compare');
const EVERY = 3000;
const parts: { field: Field; label: string }[] = [{ field: 'metrics', label: 'Metrics' }, { field: 'params', label: 'Parameters' }, { field: 'tags', label: 'Tags' }];

export function CompareRuns() {
  const { ns } = route.useParams();
  const ids = (route.useSearch().runs ?? '').split(',').filter((id) => id !== '');
  const asked = useQueries({
    queries: ids.map((id) => ({
      queryKey: ['tracked-run', ns, id],
      queryFn: ({ signal }: { signal: AbortSignal }) => mlflow.run(ns, id, signal),
      refetchInterval: EVERY,
    })),
  });
  const crumbs = [{ label: 'Tracking', to: `/tracking?ns=${ns}` }];
  const failed = asked.find((each) => each.error !== null);
  if (failed?.error) return <Page title="Compare runs" crumbs={crumbs}><Problem error={failed.error} what="run" onRetry={() => void failed.refetch()} /></Page>;
  const runs = asked.flatMap((each) => each.data ?? []);
  if (runs.length < ids.length) return <Loading what="runs" />;
  if (runs.length === 0) return <Page title="Compare runs" crumbs={crumbs}><Empty title="No runs are chosen">Select runs in the table of an experiment, then press Compare.</Empty></Page>;
  const going = runs.some((run) => run.info.status === 'RUNNING');
  return (
    <Page title="Compare runs" crumbs={crumbs} subtitle={plural(runs.length, 'run')}>
      <Tabs defaultValue="curves" keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="curves">Curves</Tabs.Tab>
          <Tabs.Tab value="values">Values</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="curves"><RunCurves ns={ns} runs={runs} every={going ? EVERY : false} /></Tabs.Panel>
        <Tabs.Panel value="values"><Values ns={ns} runs={runs} /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Values({ ns, runs }: { ns: string; runs: TrackedRun[] }) {
  const [all, setAll] = useState(false);
  const keys = (field: Field) => {
    const found = new Set(runs.flatMap((run) => (field === 'tags' ? ownTags(run) : run.data[field]).map((each) => columnId(field, each.key))));
    return [...found].sort().filter((id) => all || new Set(runs.map((run) => String(valueOf(run, id) ?? ''))).size > 1);
  };
  return (
    <div className="kf-card" style={{ padding: 12 }}>
      <Switch label="Also what is the same in all" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} mb="sm" />
      <Table.ScrollContainer type="native" minWidth={320}>
        <Table aria-label="Values side by side" verticalSpacing={4} withTableBorder>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Run</Table.Th>
              {runs.map((run) => (
                <Table.Th key={run.info.run_id} scope="col">
                  <Link to="/tracking/$ns/runs/$runId" params={{ ns, runId: run.info.run_id }} className="kf-link">{run.info.run_name || run.info.run_id}</Link>
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            <Table.Tr>
              <Table.Th scope="row" fw={500}>State</Table.Th>
              {runs.map((run) => <Table.Td key={run.info.run_id}><StateBadge state={stateOf(run)} /></Table.Td>)}
            </Table.Tr>
            {parts.map(({ field, label }) => {
              const rows = keys(field);
              return rows.length === 0 ? null : (
                <Part key={field} label={label} rows={rows} runs={runs} />
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {!all && parts.every(({ field }) => keys(field).length === 0) && <Text size="sm" c="dimmed" mt="sm">These runs logged the same values.</Text>}
    </div>
  );
}

function Part({ label, rows, runs }: { label: string; rows: string[]; runs: TrackedRun[] }) {
  return (
    <>
      <Table.Tr><Table.Th colSpan={runs.length + 1} scope="colgroup">{label}</Table.Th></Table.Tr>
      {rows.map((id) => (
        <Table.Tr key={id}>
          <Table.Th scope="row" fw={500}>{columnOf(id)?.key}</Table.Th>
          {runs.map((run) => <Table.Td key={run.info.run_id} style={{ overflowWrap: 'anywhere' }}>{shown(valueOf(run, id)) || '–'}</Table.Td>)}
        </Table.Tr>
      ))}
    </>
  );
}
