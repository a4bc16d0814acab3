// The access keys of a namespace: what each opens and until when; making, showing and revoking them.
import { Button, Code, Group, Modal, NativeSelect, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { NAMESPACE } from '../api/hooks';
import { createKey, revokeKey, useKeys, usePair, type AccessKey } from '../api/keys';
import type { KubeObject } from '../api/types';
import { CopyButton } from '../components/CopyAs';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, useConfirm } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age, useNow } from '../components/Time';
import { dateTime } from '../lib/format';
import { endOfDay, isOver, opens, OWN_KEY, rulesFrom, shellHere, shellInPods, type Role } from '../lib/keys';

const route = getRouteApi('/app/keys');

export function Keys() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/keys' });
  const confirm = useConfirm();
  const { items, error } = useKeys(ns);
  const [creating, setCreating] = useState(false);
  const [shown, setShown] = useState<KubeObject>();
  const revoke = async (name: string) => {
    const own = name === OWN_KEY ? 'It is the one that the namespace’s own workloads use. ' : '';
    if (!(await confirm({ title: `Revoke the key ${name}?`, body: `${own}What uses it is refused from now on. A key of the same name will have another secret.`, confirm: 'Revoke the key' }))) return;
    await attempt(() => revokeKey(ns, name), `${name} is revoked.`, 'The key could not be revoked');
  };
  const columns: Column<AccessKey>[] = [
    { id: 'name', header: 'Key', sortBy: (key) => key.metadata.name, cell: (key) => <span style={{ fontWeight: 500, overflowWrap: 'anywhere' }}>{key.metadata.name}</span> },
    { id: 'opens', header: 'Opens', cell: (key) => opens(key.spec?.rules, ns).map((line) => <div key={line} style={{ overflowWrap: 'anywhere' }}>{line}</div>) },
    { id: 'note', header: 'For', cell: (key) => key.spec?.note, minor: true },
    { id: 'expires', header: 'Expires', sortBy: (key) => key.spec?.expires ?? '9999', cell: (key) => <Expires at={key.spec?.expires} />, width: 170 },
    { id: 'created', header: 'Age', sortBy: (key) => key.metadata.creationTimestamp, cell: (key) => <Age at={key.metadata.creationTimestamp} />, width: 110 },
    {
      id: 'actions',
      header: 'Actions',
      cell: (key) => (
        <Group gap={4} wrap="nowrap">
          <Button size="compact-xs" variant="default" aria-label={`Show the secret of ${key.metadata.name}`} onClick={() => setShown(key)}>Show secret</Button>
          <Button size="compact-xs" variant="default" aria-label={`Revoke ${key.metadata.name}`} onClick={() => void revoke(key.metadata.name)}>Revoke</Button>
        </Group>
      ),
      width: 180,
    },
  ];
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>Create a key</Button>;
  return (
    <Page title="Access keys" crumbs={[{ label: 'Buckets', to: `/buckets?ns=${ns}` }]} subtitle={`Keys with which S3 clients open the buckets of the namespace ${ns}.`} actions={create}>
      {error !== null ? <Problem error={error} what="list of access keys" /> : items === undefined ? <Loading what="access keys" /> : (
        <DataTable
          label="Access keys"
          rows={items}
          columns={columns}
          rowId={(key) => key.metadata.uid}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="name"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          empty={<Empty title="No access keys yet" action={create}>A program that speaks S3 needs one: boto3, the AWS tools, pandas.</Empty>}
        />
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="Create a key" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewKey
          ns={ns}
          onClose={() => setCreating(false)}
          onDone={(made) => {
            setCreating(false);
            setShown(made);
          }}
        />
      </Modal>
      <Modal opened={shown !== undefined} onClose={() => setShown(undefined)} title={`The key ${shown?.metadata.name ?? ''}`} size="xl" closeButtonProps={{ 'aria-label': 'Close' }}>
        {shown !== undefined && <KeySecret ns={ns} name={shown.metadata.name} uid={shown.metadata.uid} />}
      </Modal>
    </Page>
  );
}

function Expires({ at }: { at: string | undefined }) {
  const now = useNow();
  if (at === undefined) return 'Never';
  return <time dateTime={at}>{isOver(at, now) ? `Expired ${dateTime(at)}` : dateTime(at)}</time>;
}

function NewKey({ ns, onClose, onDone }: { ns: string; onClose: () => void; onDone: (made: KubeObject) => void }) {
  const [name, setName] = useState('');
  const [buckets, setBuckets] = useState('');
  const [role, setRole] = useState<Role>('edit');
  const [day, setDay] = useState('');
  const [note, setNote] = useState('');
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const rules = rulesFrom(buckets, role);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const expires = endOfDay(day);
    if (isOver(expires, Date.now())) {
      setError('The last day is over.');
      return;
    }
    setBusy(true);
    try {
      onDone(await createKey(ns, name.trim(), {
        ...(rules.length === 0 ? {} : { rules: rules.map((rule) => ({ ...rule })) }),
        ...(expires === undefined ? {} : { expires }),
        ...(note.trim() === '' ? {} : { note: note.trim() }),
      }));
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
      setBusy(false);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <Textarea label="Buckets" description="One BUCKET or BUCKET/PREFIX a line. None: all buckets of the namespace, to read and write, and making new ones." autosize minRows={2} value={buckets} onChange={(event) => setBuckets(event.currentTarget.value)} />
        <NativeSelect label="What it may do there" disabled={rules.length === 0} value={rules.length === 0 ? 'edit' : role} onChange={(event) => setRole(event.currentTarget.value === 'view' ? 'view' : 'edit')} data={[{ value: 'edit', label: 'Read and write' }, { value: 'view', label: 'Read' }]} />
        <TextInput type="date" label="Last day" description="None: it does not expire." value={day} onChange={(event) => setDay(event.currentTarget.value)} />
        <TextInput label="What it is for" value={note} onChange={(event) => setNote(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" loading={busy} disabled={name.trim() === ''}>Create</Button>
        </Group>
      </Stack>
    </form>
  );
}

function KeySecret({ ns, name, uid }: { ns: string; name: string; uid: string }) {
  const { data, error } = usePair(ns, name, uid);
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the secret" />;
  return (
    <Stack gap="sm">
      <Copied label="Access key" text={data.id} />
      <Copied label="Secret key" text={data.secret} />
      <Copied label="In a shell on the box, with the endpoint’s address" text={shellHere(ns, name)} />
      <Copied label="In a shell in a pod of the box" text={shellInPods(data)} />
    </Stack>
  );
}

function Copied({ label, text }: { label: string; text: string }) {
  return (
    <div>
      <Group gap={4}>
        <Text size="sm" fw={500}>{label}</Text>
        <CopyButton text={text} label={`Copy: ${label}`} />
      </Group>
      <Code block tabIndex={0} aria-label={label}>{text}</Code>
    </div>
  );
}
