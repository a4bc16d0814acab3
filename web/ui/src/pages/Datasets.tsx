// The data sets of a namespace: buckets whose contents are kept in versions.
import { Button, Code, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { datasets, short, useDatasets, type Dataset } from '../api/datasets';
import { NAMESPACE } from '../api/hooks';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { NameFilter } from '../components/filters';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { bytes } from '../lib/format';

const route = getRouteApi('/app/datasets');

export function Datasets() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/datasets' });
  const [creating, setCreating] = useState(false);
  const { items, error } = useDatasets(ns);
  const asked = search.q?.toLowerCase();
  const rows = (items ?? []).filter((each) => asked === undefined || each.metadata.name.includes(asked));
  const main = (each: Dataset) => each.status?.branches?.main;
  const columns: Column<Dataset>[] = [
    {
      id: 'name',
      header: 'Data set',
      sortBy: (each) => each.metadata.name,
      cell: (each) => (
        <>
          <Link to="/datasets/$ns/$name" params={{ ns, name: each.metadata.name }} className="kf-link">{each.metadata.name}</Link>
          {each.status?.message !== undefined && <Text size="xs" c="var(--kf-bad)">{each.status.message}</Text>}
        </>
      ),
    },
    { id: 'description', header: 'Description', cell: (each) => each.spec?.description, minor: true },
    { id: 'head', header: 'Newest commit', cell: (each) => <Code>{short(main(each)?.commit) || '–'}</Code>, width: 140 },
    { id: 'objects', header: 'Objects', sortBy: (each) => main(each)?.objects ?? 0, cell: (each) => main(each)?.objects ?? 0, width: 100, align: 'right' },
    { id: 'bytes', header: 'Size', sortBy: (each) => main(each)?.bytes ?? 0, cell: (each) => bytes(main(each)?.bytes ?? 0), width: 110, align: 'right' },
    { id: 'age', header: 'Age', sortBy: (each) => each.metadata.creationTimestamp ?? '', cell: (each) => <Age at={each.metadata.creationTimestamp} />, width: 120 },
  ];
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>Create a data set</Button>;
  return (
    <Page title="Data sets" subtitle={<>Data with versions in the namespace {ns}: written to like any bucket, kept by commits.</>} actions={create}>
      {error !== null ? <Problem error={error} what="list of data sets" /> : items === undefined ? <Loading what="data sets" /> : (
        <>
          {items.length > 0 && <Group gap="sm"><NameFilter value={search.q} onChange={(q) => void navigate({ search: (before) => ({ ...before, q, page: undefined }), replace: true })} /></Group>}
          <DataTable
            label="Data sets"
            rows={rows}
            columns={columns}
            rowId={(each) => each.metadata.name}
            view={{ sort: search.sort, page: search.page }}
            defaultSort="name"
            onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
            empty={
              items.length > 0 ? <Empty title="No data set has this name" /> : (
                <Empty title="No data sets yet" action={create}>
                  A data set is a bucket with a memory: upload files to its folder main, commit, and <Code>s3://name/&lt;commit&gt;/…</Code> never changes. Equal files are kept once.
                </Empty>
              )
            }
          />
        </>
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="Create a data set" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewDataset ns={ns} onClose={() => setCreating(false)} onDone={(name) => void navigate({ to: '/datasets/$ns/$name', params: { ns, name } })} />
      </Modal>
    </Page>
  );
}

function NewDataset({ ns, onClose, onDone }: { ns: string; onClose: () => void; onDone: (name: string) => void }) {
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await datasets.create(ns, name.trim(), description.trim());
      onClose();
      onDone(name.trim());
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" description="3 to 63 small letters, digits and hyphens; it names a bucket, too" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <TextInput label="Description" value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={name.trim() === ''}>Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
