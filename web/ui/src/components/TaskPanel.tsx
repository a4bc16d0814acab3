// The side panel of one step: what it does, what went in and came out, its log.
import { ActionIcon, Button, Code, Group, Stack, Table, Tabs, Text, Title } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { NAMESPACE } from '../api/hooks';
import type { Artifact, JsonMap, TaskObject } from '../api/types';
import { kindWords } from '../graph/kinds';
import { dateTime, value } from '../lib/format';
import type { IrTask } from '../lib/ir';
import { taskState } from '../lib/state';
import { ArtifactView } from './ArtifactView';
import { CopyButton } from './CopyAs';
import { LogView } from './LogView';
import { StateBadge } from './State';
import { Duration } from './Time';
import classes from './TaskPanel.module.css';

interface Props {
  path: string;
  ir?: IrTask;
  /** Absent: the run has not reached it, or there is no run. */
  task?: TaskObject;
  inRun: boolean;
  panel: string | undefined;
  onPanel: (panel: string) => void;
  onClose: () => void;
}

export function TaskPanel({ path, ir, task, inRun, panel, onPanel, onClose }: Props) {
  const title = task?.spec.displayName ?? ir?.label ?? path;
  const pods = podsOf(task);
  const outputs = Object.entries(task?.status?.outputs?.artifacts ?? {});
  const isStep = ir === undefined ? task?.spec.type !== 'DAG' : ir.children.length === 0;
  const tabs = [
    { id: 'overview', label: 'Overview' },
    ...(inRun ? [{ id: 'data', label: 'Inputs & outputs' }] : []),
    ...(outputs.length > 0 ? [{ id: 'artifacts', label: 'Artifacts' }] : []),
    ...(inRun && isStep ? [{ id: 'logs', label: 'Logs' }] : []),
  ];
  const current = tabs.some((tab) => tab.id === panel) ? (panel as string) : 'overview';
  return (
    <section className={classes.panel} aria-label={`Step ${title}`}>
      <Group justify="space-between" wrap="nowrap" align="flex-start" px="md" pt="sm">
        <Stack gap={3} style={{ minWidth: 0 }}>
          <Title order={2} style={{ overflowWrap: 'anywhere' }}>{title}</Title>
          <Group gap="xs">
            {inRun && <StateBadge state={task === undefined ? 'NOT_REACHED' : taskState(task)} />}
            {task?.status?.startTime !== undefined && (
              <Text size="xs" c="dimmed"><Duration from={task.status.startTime} to={task.status.finishTime} /></Text>
            )}
            {ir !== undefined && ir.kind !== 'step' && <Text size="xs" c="dimmed">{kindWords[ir.kind]}</Text>}
          </Group>
        </Stack>
        <ActionIcon aria-label="Close the step" onClick={onClose}><IconX size={17} aria-hidden /></ActionIcon>
      </Group>
      <Tabs value={current} onChange={(next) => next !== null && onPanel(next)} keepMounted={false} className={classes.tabs}>
        <Tabs.List px="md">
          {tabs.map((tab) => <Tabs.Tab key={tab.id} value={tab.id}>{tab.label}</Tabs.Tab>)}
        </Tabs.List>
        <Tabs.Panel value="overview" className={classes.body}>
          <Overview path={path} ir={ir} task={task} inRun={inRun} onLogs={() => onPanel('logs')} />
        </Tabs.Panel>
        <Tabs.Panel value="data" className={classes.body}>
          <Data task={task} />
        </Tabs.Panel>
        <Tabs.Panel value="artifacts" className={classes.body}>
          <Stack gap="md">
            {outputs.flatMap(([name, artifacts]) =>
              artifacts.map((artifact, i) => (
                <ArtifactView key={`${name}-${i}`} name={artifacts.length > 1 ? `${name} ${i + 1}` : name} artifact={artifact} />
              )),
            )}
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="logs" className={classes.body} data-fill>
          <Logs task={task} pods={pods} />
        </Tabs.Panel>
      </Tabs>
    </section>
  );
}

/** Attempts in order, the current one last. */
function podsOf(task: TaskObject | undefined): string[] {
  const pods = (task?.status?.attempts ?? []).flatMap((attempt) => attempt.podName ?? []);
  if (task?.status?.podName !== undefined) pods.push(task.status.podName);
  return [...new Set(pods)];
}

function Overview({ path, ir, task, inRun, onLogs }: { path: string; ir?: IrTask; task?: TaskObject; inRun: boolean; onLogs: () => void }) {
  const status = task?.status;
  const container = ir?.executor?.container;
  const attempts = status?.attempts ?? [];
  const state = task === undefined ? undefined : taskState(task);
  return (
    <Stack gap="md">
      {state === 'FAILED' && (
        <div className={classes.failure} role="note">
          <Text size="sm" fw={600}>{status?.message ?? 'The step failed.'}</Text>
          {podsOf(task).length > 0 && <Button size="compact-xs" variant="default" mt={6} onClick={onLogs}>Read its log</Button>}
        </div>
      )}
      {state !== 'FAILED' && status?.message !== undefined && <Text size="sm">{status.message}</Text>}
      {inRun && task === undefined && <Text size="sm" c="dimmed">The run has not come to this step yet, or ended before it.</Text>}
      {status?.cachedFrom !== undefined && (
        <Text size="sm" className="kf-prose">
          Not run again: the outputs were taken from{' '}
          <Link to="/runs/$runId" params={{ runId: status.cachedFrom.runId }} search={{ task: status.cachedFrom.taskPath }} className="kf-link">
            an earlier run
          </Link>.
        </Text>
      )}
      <dl className="kf-facts">
        <Fact name="Path" text={path} mono />
        {ir?.condition !== undefined && <Fact name="Runs if" text={ir.condition} mono />}
        {ir?.always === true && <Fact name="Runs" text="even when earlier steps failed" />}
        {ir !== undefined && ir.needs.length > 0 && <Fact name="After" text={ir.needs.map((need) => need.name).join(', ')} />}
        {ir?.componentName !== undefined && <Fact name="Component" text={ir.componentName} />}
        {status?.startTime !== undefined && <Fact name="Started" text={dateTime(status.startTime)} />}
        {status?.finishTime !== undefined && <Fact name="Finished" text={dateTime(status.finishTime)} />}
        {status?.podName !== undefined && <Fact name="Pod" text={status.podName} mono />}
        {container?.image !== undefined && <Fact name="Image" text={container.image} mono />}
      </dl>
      {attempts.length > 1 && (
        <Table withTableBorder verticalSpacing={4} aria-label="Attempts" fz="sm">
          <Table.Thead>
            <Table.Tr><Table.Th>Attempt</Table.Th><Table.Th>Took</Table.Th><Table.Th>Exit</Table.Th><Table.Th>Message</Table.Th></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {attempts.map((attempt, i) => (
              <Table.Tr key={i}>
                <Table.Td>{i + 1}</Table.Td>
                <Table.Td><Duration from={attempt.startTime} to={attempt.finishTime} /></Table.Td>
                <Table.Td>{attempt.exitCode ?? '–'}</Table.Td>
                <Table.Td>{attempt.message ?? attempt.reason ?? ''}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {container !== undefined && (container.command !== undefined || container.args !== undefined) && (
        <div>
          <Group justify="space-between" mb={4}>
            <Title order={3}>Command</Title>
            <CopyButton text={[...(container.command ?? []), ...(container.args ?? [])].join(' ')} label="Copy the command" />
          </Group>
          <Code block className={classes.command} tabIndex={0}>{[...(container.command ?? []), ...(container.args ?? [])].join('\n')}</Code>
        </div>
      )}
    </Stack>
  );
}

function Fact({ name, text, mono = false }: { name: string; text: string; mono?: boolean }) {
  return (
    <>
      <dt>{name}</dt>
      <dd className={mono ? 'kf-mono' : undefined}>{text}</dd>
    </>
  );
}

function Data({ task }: { task?: TaskObject }) {
  const inputs = task?.status?.inputs;
  const outputs = task?.status?.outputs;
  return (
    <Stack gap="lg">
      <Io title="Inputs" none="This step takes nothing." parameters={inputs?.parameters} artifacts={inputs?.artifacts} />
      <Io title="Outputs" none="This step has given nothing (yet)." parameters={outputs?.parameters} artifacts={outputs?.artifacts} />
    </Stack>
  );
}

function Io({ title, none, parameters, artifacts }: { title: string; none: string; parameters?: JsonMap; artifacts?: Record<string, Artifact[]> }) {
  const values = Object.entries(parameters ?? {});
  const files = Object.entries(artifacts ?? {});
  return (
    <Stack gap="xs">
      <Title order={3}>{title}</Title>
      {values.length === 0 && files.length === 0 && <Text size="sm" c="dimmed">{none}</Text>}
      {values.length > 0 && <ValueTable label={`${title}: parameters`} values={parameters ?? {}} />}
      {files.flatMap(([name, list]) =>
        list.map((artifact, i) => <ArtifactView key={`${name}-${i}`} name={list.length > 1 ? `${name} ${i + 1}` : name} artifact={artifact} render={false} />),
      )}
    </Stack>
  );
}

export function ValueTable({ values, label }: { values: JsonMap; label: string }) {
  return (
    <Table withTableBorder verticalSpacing={4} layout="fixed" aria-label={label} fz="sm">
      <Table.Tbody>
        {Object.entries(values).map(([name, json]) => (
          <Table.Tr key={name}>
            <Table.Th scope="row" fw={500} w="38%" style={{ overflowWrap: 'anywhere' }}>{name}</Table.Th>
            <Table.Td className="kf-mono" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>{value(json)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Logs({ task, pods }: { task?: TaskObject; pods: string[] }) {
  const [chosen, setChosen] = useState<string>();
  const latest = pods.at(-1);
  const pod = chosen !== undefined && pods.includes(chosen) ? chosen : latest;
  if (pod === undefined) {
    const cached = task?.status?.cachedFrom;
    return (
      <Text size="sm" c="dimmed">
        {cached === undefined
          ? 'No container was started for this step, so there is no log.'
          : 'The outputs came from the cache: no container was started, so there is no log here.'}
      </Text>
    );
  }
  const state = task === undefined ? 'PENDING' : taskState(task);
  const active = (state === 'RUNNING' || state === 'PENDING') && pod === latest;
  return (
    <Stack gap="xs" style={{ flex: 1, minHeight: 0 }}>
      {pods.length > 1 && (
        <Group gap={4} role="group" aria-label="Attempts">
          {pods.map((name, i) => (
            <Button key={name} size="compact-xs" variant={name === pod ? 'filled' : 'default'} aria-pressed={name === pod} onClick={() => setChosen(name)}>
              Attempt {i + 1}
            </Button>
          ))}
        </Group>
      )}
      <LogView key={pod} namespace={NAMESPACE} pod={pod} active={active} />
    </Stack>
  );
}
