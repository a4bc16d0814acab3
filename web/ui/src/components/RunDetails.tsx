// The facts of a run: parameters, times, where it came from, its ids.
import { Stack, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { useNames } from '../api/hooks';
import type { RunObject } from '../api/types';
import { dateTime } from '../lib/format';
import { CopyButton } from './CopyAs';
import { ExperimentLink } from './runColumns';
import { StateBadge } from './State';
import { ValueTable } from './TaskPanel';
import { Duration } from './Time';

export function RunDetails({ run, names }: { run: RunObject; names: ReturnType<typeof useNames> }) {
  const parameters = run.spec.runtimeConfig?.parameters ?? {};
  const reference = run.spec.pipelineVersionReference;
  const history = run.status?.stateHistory ?? [];
  return (
    <Stack gap="lg" maw={860}>
      <section aria-label="Parameters">
        <Title order={2} mb="xs">Parameters</Title>
        {Object.keys(parameters).length === 0 ? (
          <Text size="sm" c="dimmed">None were given; defaults apply.</Text>
        ) : (
          <div className="kf-card"><ValueTable values={parameters} label="Parameters of the run" /></div>
        )}
      </section>
      <section aria-label="About">
        <Title order={2} mb="xs">About</Title>
        <dl className="kf-facts">
          {run.spec.description !== undefined && <><dt>Description</dt><dd>{run.spec.description}</dd></>}
          <dt>Created</dt><dd>{dateTime(run.metadata.creationTimestamp)}</dd>
          {run.status?.startTime !== undefined && <><dt>Started</dt><dd>{dateTime(run.status.startTime)}</dd></>}
          {run.status?.finishTime !== undefined && <><dt>Finished</dt><dd>{dateTime(run.status.finishTime)}</dd></>}
          {run.status?.startTime !== undefined && <><dt>Took</dt><dd><Duration from={run.status.startTime} to={run.status.finishTime} /></dd></>}
          {reference?.pipelineId !== undefined && (
            <>
              <dt>Pipeline</dt>
              <dd><Link to="/pipelines/$pipelineId" params={{ pipelineId: reference.pipelineId }} search={{ version: reference.pipelineVersionId }} className="kf-link">{names.pipeline(reference.pipelineId) ?? reference.pipelineId}</Link></dd>
            </>
          )}
          {run.spec.experimentId !== undefined && (
            <>
              <dt>Experiment</dt>
              <dd><ExperimentLink id={run.spec.experimentId} names={names} /></dd>
            </>
          )}
          {run.spec.runtimeConfig?.pipelineRoot !== undefined && <><dt>Pipeline root</dt><dd className="kf-mono">{run.spec.runtimeConfig.pipelineRoot}</dd></>}
          {run.spec.serviceAccount !== undefined && <><dt>Service account</dt><dd>{run.spec.serviceAccount}</dd></>}
          <dt>Run id</dt>
          <dd className="kf-mono" style={{ display: 'flex', gap: 4, alignItems: 'center' }}>{run.metadata.name}<CopyButton text={run.metadata.name} label="Copy the run id" /></dd>
          {(run.status?.retry ?? 0) > 0 && <><dt>Retried</dt><dd>{run.status?.retry} times</dd></>}
        </dl>
      </section>
      {history.length > 0 && (
        <section aria-label="History">
          <Title order={2} mb="xs">History</Title>
          <div className="kf-card">
            <Table fz="sm" aria-label="State history">
              <Table.Tbody>
                {history.map((entry, i) => (
                  <Table.Tr key={i}>
                    <Table.Td w={200}>{dateTime(entry.updateTime)}</Table.Td>
                    <Table.Td w={130}><StateBadge state={entry.state} /></Table.Td>
                    <Table.Td>{entry.error?.message}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        </section>
      )}
    </Stack>
  );
}
