// What a run brought forth, in one look: metrics side by side, then every rendered artifact, then the files.
import { Stack, Table, Text, Title } from '@mantine/core';
import { useMemo } from 'react';
import type { Artifact, Json, TaskObject } from '../api/types';
import { scalars, viewOf } from '../lib/artifacts';
import { value } from '../lib/format';
import { ArtifactView } from './ArtifactView';
import { Empty } from './Page';

interface Output {
  step: string;
  name: string;
  artifact: Artifact;
}

const label = (task: TaskObject) => task.spec.displayName ?? task.spec.name;

export function RunOutputs({ tasks }: { tasks: TaskObject[] }) {
  const outputs = useMemo<Output[]>(
    () =>
      tasks
        .filter((task) => task.spec.type !== 'DAG')
        .sort((a, b) => (a.status?.startTime ?? '').localeCompare(b.status?.startTime ?? ''))
        .flatMap((task) =>
          Object.entries(task.status?.outputs?.artifacts ?? {}).flatMap(([name, list]) => list.map((artifact) => ({ step: label(task), name, artifact }))),
        ),
    [tasks],
  );
  const metrics = outputs.filter((output) => viewOf(output.artifact) === 'metrics');
  const shown = outputs.filter((output) => ['classification', 'html', 'markdown'].includes(viewOf(output.artifact)));
  const files = outputs.filter((output) => viewOf(output.artifact) === 'file');
  if (outputs.length === 0) {
    return <div className="kf-card"><Empty title="No outputs yet">Metrics, reports, models and data sets appear here as the steps write them.</Empty></div>;
  }
  return (
    <Stack gap="lg">
      {metrics.length > 0 && <MetricsTable metrics={metrics} />}
      {shown.map((output, i) => (
        <section key={i} className="kf-card" style={{ padding: 16 }} aria-label={`${output.name} of ${output.step}`}>
          <ArtifactView name={`${output.step} / ${output.name}`} artifact={output.artifact} />
        </section>
      ))}
      {files.length > 0 && (
        <section aria-label="Files">
          <Title order={2} mb="xs">Files</Title>
          <Stack className="kf-card" p="md" gap="sm">
            {files.map((output, i) => <ArtifactView key={i} name={`${output.step} / ${output.name}`} artifact={output.artifact} />)}
          </Stack>
        </section>
      )}
    </Stack>
  );
}

/** One row a step, one column a metric: what one compares. */
function MetricsTable({ metrics }: { metrics: Output[] }) {
  const names = [...new Set(metrics.flatMap((metric) => scalars(metric.artifact.metadata).map(([key]) => key)))];
  const many = new Set(metrics.map((metric) => metric.step)).size < metrics.length;
  if (names.length === 0) return <Text size="sm" c="dimmed">The metrics artifacts hold no values.</Text>;
  return (
    <section aria-label="Metrics">
      <Title order={2} mb="xs">Metrics</Title>
      <Table.ScrollContainer type="native" minWidth={320} className="kf-card">
        <Table fz="sm" aria-label="Metrics by step">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Step</Table.Th>
              {names.map((name) => <Table.Th key={name} ta="right">{name}</Table.Th>)}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {metrics.map((metric, i) => {
              const values = new Map<string, Json>(scalars(metric.artifact.metadata));
              return (
                <Table.Tr key={i}>
                  <Table.Th scope="row" fw={500}>{metric.step}{many ? ` / ${metric.name}` : ''}</Table.Th>
                  {names.map((name) => <Table.Td key={name} ta="right">{value(values.get(name)) || '–'}</Table.Td>)}
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </section>
  );
}
