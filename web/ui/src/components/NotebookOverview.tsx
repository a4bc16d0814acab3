// What a notebook has and mounts, when it was used, when it is stopped; and how programs elsewhere reach it.
import { Code, Group, NativeSelect, Stack, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { notebooks, usePodDefaults } from '../api/notebooks';
import type { NotebookObject } from '../api/types';
import { IDLE_CHOICES, askedWords, idleTimeout, imageOf, lastUsed, mountsOf, notebookPath, presetsOf, presetTitle, server } from '../lib/notebooks';
import { CopyButton } from './CopyAs';
import { attempt } from './feedback';
import { Age } from './Time';

export function NotebookOverview({ notebook }: { notebook: NotebookObject }) {
  const { name, namespace: ns = '' } = notebook.metadata;
  const presets = presetsOf(notebook, usePodDefaults(ns).data?.items ?? []);
  const env = server(notebook)?.env ?? [];
  return (
    <Stack gap="lg" maw={1000}>
      <section aria-label="About">
        <dl className="kf-facts" style={{ fontSize: 'var(--mantine-font-size-sm)' }}>
          <dt>Image</dt><dd className="kf-mono">{imageOf(notebook)}</dd>
          <dt>Resources</dt><dd>{askedWords(notebook)}</dd>
          <dt>Last used</dt><dd>{lastUsed(notebook) === undefined ? 'Not known: the box asks a notebook that has an idle time-out.' : <Age at={lastUsed(notebook)} />}</dd>
          <dt>Stopped when idle</dt><dd><Idle notebook={notebook} /></dd>
          {presets.length > 0 && <><dt>Presets</dt><dd>{presets.map(presetTitle).join(', ')}</dd></>}
          {env.length > 0 && <><dt>Variables</dt><dd>{env.map((each) => <div key={each.name} className="kf-mono">{each.name}{each.value === undefined ? '' : `=${each.value}`}</div>)}</dd></>}
        </dl>
      </section>
      <Volumes notebook={notebook} />
      <Outside ns={ns} name={name} />
    </Stack>
  );
}

/** Changed at once: the server need not be started again for it. */
function Idle({ notebook }: { notebook: NotebookObject }) {
  const { name, namespace: ns = '' } = notebook.metadata;
  const now = idleTimeout(notebook);
  const other = IDLE_CHOICES.some(({ value }) => value === now) ? [] : [{ value: now, label: `After ${now}` }];
  const words = IDLE_CHOICES.map(({ value, label }) => ({ value, label: value === '' ? label : `After ${label}` }));
  return (
    <NativeSelect
      aria-label="Stopped when idle"
      size="xs"
      w={160}
      value={now}
      data={[...words, ...other]}
      onChange={(event) => void attempt(() => notebooks.setIdle(ns, name, event.currentTarget.value), `${name}: the idle time-out is saved.`, 'The idle time-out could not be saved')}
    />
  );
}

function Volumes({ notebook }: { notebook: NotebookObject }) {
  const mounts = mountsOf(notebook);
  const ns = notebook.metadata.namespace;
  return (
    <section aria-label="Volumes">
      <Title order={2} mb="xs">Volumes</Title>
      {mounts.length === 0 ? <Text size="sm" c="dimmed">None: files are lost when it stops.</Text> : (
        <div className="kf-card">
          <Table fz="sm" aria-label="Volumes">
            <Table.Thead><Table.Tr><Table.Th>Folder</Table.Th><Table.Th>Volume</Table.Th><Table.Th>Access</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {mounts.map((mount) => (
                <Table.Tr key={mount.path}>
                  <Table.Td className="kf-mono">{mount.path}</Table.Td>
                  <Table.Td>{mount.claim === undefined ? <Text span size="sm" c="dimmed">{mount.other}</Text> : <Link to="/volumes" search={{ ns }} className="kf-link">{mount.claim}</Link>}</Table.Td>
                  <Table.Td>{mount.readOnly ? 'Read only' : 'Read and write'}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      )}
    </section>
  );
}

function Outside({ ns, name }: { ns: string; name: string }) {
  const address = window.location.origin + notebookPath(ns, name);
  const withToken = `${address}?token=$KFBOX_TOKEN`;
  const check = `curl -fsS -H "Authorization: Bearer $KFBOX_TOKEN" ${address}api/kernels`;
  return (
    <section aria-label="From elsewhere">
      <Title order={2} mb="xs">From elsewhere</Title>
      <Stack gap={6}>
        <Text size="sm">The address of the server, for VS Code and other programs that speak to Jupyter:</Text>
        <Line text={address} label="Copy the address" />
        <Text size="sm">
          In VS Code: Select Kernel, Existing Jupyter Server, and this address with a token of the box (<Code>kfbox token create</Code>) in place of <Code>$KFBOX_TOKEN</Code>:
        </Text>
        <Line text={withToken} label="Copy the address with a token" />
        <Text size="sm">Whether it answers:</Text>
        <Line text={check} label="Copy the command" />
      </Stack>
    </section>
  );
}

function Line({ text, label }: { text: string; label: string }) {
  return (
    <Group gap={4} wrap="nowrap" align="flex-start">
      <Code style={{ overflowWrap: 'anywhere' }}>{text}</Code>
      <CopyButton text={text} label={label} />
    </Group>
  );
}
