// The buckets of a namespace: creating, opening and deleting them.
import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconChartPie, IconKey, IconPlus } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { NAMESPACE } from '../api/hooks';
import { s3 } from '../api/s3';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, toastDone, useConfirm } from '../components/feedback';
import { LinkButton } from '../components/LinkButton';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import type { Bucket } from '../lib/s3';

const route = getRouteApi('/app/buckets');

export function Buckets() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/buckets' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const [creating, setCreating] = useState(false);
  const { data, error } = useQuery({ queryKey: ['buckets', ns], queryFn: ({ signal }) => s3.buckets(ns, signal), refetchOnWindowFocus: true });
  const again = () => client.invalidateQueries({ queryKey: ['buckets', ns] });
  const remove = async (name: string) => {
    if (!(await confirm({ title: `Delete the bucket ${name}?`, body: 'Only an empty bucket can be deleted.', confirm: 'Delete the bucket' }))) return;
    await attempt(() => s3.removeBucket(ns, name), `${name} is deleted.`, 'The bucket could not be deleted');
    await again();
  };
  const columns: Column<Bucket>[] = [
    { id: 'name', header: 'Bucket', sortBy: (bucket) => bucket.name, cell: (bucket) => <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: bucket.name }} className="kf-link">{bucket.name}</Link> },
    { id: 'created', header: 'Age', sortBy: (bucket) => bucket.created, cell: (bucket) => <Age at={bucket.created} />, width: 140 },
    { id: 'actions', header: 'Actions', cell: (bucket) => <Button size="compact-xs" variant="default" aria-label={`Delete ${bucket.name}`} onClick={() => void remove(bucket.name)}>Delete</Button>, width: 90 },
  ];
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>Create a bucket</Button>;
  return (
    <Page title="Buckets" subtitle={`Objects of the namespace ${ns}, over S3 and in the mounts of steps.`} actions={<><LinkButton variant="default" leftSection={<IconChartPie size={15} aria-hidden />} to="/storage">What fills the disk</LinkButton><LinkButton variant="default" leftSection={<IconKey size={15} aria-hidden />} to="/keys" search={{ ns: search.ns }}>Access keys</LinkButton>{create}</>}>
      {error !== null ? <Problem error={error} what="list of buckets" onRetry={() => void again()} /> : data === undefined ? <Loading what="buckets" /> : (
        <DataTable
          label="Buckets"
          rows={data}
          columns={columns}
          rowId={(bucket) => bucket.name}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="name"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          empty={<Empty title="No buckets yet" action={create}>A bucket holds objects, such as data sets and models, for pipelines, jobs and every S3 client.</Empty>}
        />
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="Create a bucket" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewBucket ns={ns} onClose={() => setCreating(false)} onDone={again} />
      </Modal>
    </Page>
  );
}

function NewBucket({ ns, onClose, onDone }: { ns: string; onClose: () => void; onDone: () => Promise<void> }) {
  const [name, setName] = useState('');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await s3.createBucket(ns, name.trim());
      await onDone();
      toastDone(`${name.trim()} was created.`);
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <Text size="xs" c="dimmed">3 to 63 small letters, digits, dots and hyphens; unique on the box.</Text>
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={name.trim() === ''}>Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
