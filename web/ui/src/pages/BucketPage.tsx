// A bucket as folders: objects in pages, uploads by button or drag, preview, download, delete.
import { ActionIcon, Button, FileButton, Group, Text } from '@mantine/core';
import { IconChevronRight, IconChevronsLeft, IconFile, IconFolder, IconUpload } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type DragEvent } from 'react';
import { s3 } from '../api/s3';
import { DataTable, type Column } from '../components/DataTable';
import { attempt, useConfirm } from '../components/feedback';
import { ObjectDrawer } from '../components/ObjectDrawer';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { Uploads, useUploads } from '../components/Uploads';
import { bytes, plural } from '../lib/format';
import type { S3Object } from '../lib/s3';

const route = getRouteApi('/app/buckets/$ns/$bucket');

/** A line of the list: a folder, by its whole prefix, or an object. */
interface Line {
  name: string;
  folder?: string;
  object?: S3Object;
}

export function BucketPage() {
  const { ns, bucket } = route.useParams();
  const { prefix = '', after, object } = route.useSearch();
  const navigate = useNavigate({ from: '/buckets/$ns/$bucket' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const [over, setOver] = useState(false);
  const { data, error } = useQuery({
    queryKey: ['objects', ns, bucket, prefix, after],
    queryFn: ({ signal }) => s3.list(ns, bucket, prefix, after, signal),
    refetchOnWindowFocus: true,
  });
  const again = () => client.invalidateQueries({ queryKey: ['objects', ns, bucket] });
  const uploads = useUploads(ns, bucket, () => void again());
  const send = (files: File[]) => uploads.add(files.map((file) => ({ key: prefix + (file.webkitRelativePath || file.name), file })));
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    send([...event.dataTransfer.files]);
  };

  const remove = async (lines: Line[], clear: () => void) => {
    const folders = lines.flatMap((line) => line.folder ?? []);
    const below = (await Promise.all(folders.map((folder) => s3.below(ns, bucket, folder)))).flat();
    const keys = [...below, ...lines.flatMap((line) => line.object?.key ?? [])];
    if (!(await confirm({ title: `Delete ${plural(keys.length, 'object')}?`, body: 'In a bucket without versions they are gone for good.', confirm: 'Delete' }))) return;
    await attempt(() => s3.remove(ns, bucket, keys), `${plural(keys.length, 'object')} deleted.`, 'Not everything could be deleted');
    clear();
    await again();
  };

  const lines: Line[] = [
    ...(data?.folders ?? []).map((folder) => ({ name: folder.slice(prefix.length), folder })),
    ...(data?.objects ?? []).filter((each) => each.key !== prefix).map((each) => ({ name: each.key.slice(prefix.length), object: each })),
  ];
  const columns: Column<Line>[] = [
    {
      id: 'name',
      header: 'Name',
      cell: (line) => (
        <Group gap={6} wrap="nowrap">
          {line.folder === undefined ? <IconFile size={15} aria-hidden /> : <IconFolder size={15} aria-hidden />}
          <Link from="/buckets/$ns/$bucket" to="." search={line.folder === undefined ? { prefix: prefix || undefined, after, object: line.object?.key } : { prefix: line.folder }} className="kf-link" style={{ overflowWrap: 'anywhere' }}>{line.name}</Link>
        </Group>
      ),
    },
    { id: 'size', header: 'Size', cell: (line) => (line.object === undefined ? '' : bytes(line.object.size)), width: 110, align: 'right' },
    { id: 'modified', header: 'Modified', cell: (line) => (line.object === undefined ? null : <Age at={line.object.modified} />), width: 140, minor: true },
  ];
  const crumbs = [{ label: 'Buckets', to: `/buckets?ns=${ns}` }];
  const uploading = (
    <FileButton multiple onChange={send}>
      {(button) => <Button {...button} leftSection={<IconUpload size={15} aria-hidden />}>Upload files</Button>}
    </FileButton>
  );
  return (
    <div onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop} data-over={over || undefined} style={over ? { outline: '2px dashed var(--mantine-primary-color-filled)', outlineOffset: -6 } : undefined}>
      <Page title={bucket} tab={`${bucket}/${prefix}`} crumbs={crumbs} subtitle={<Folders bucket={bucket} prefix={prefix} />} actions={uploading}>
        <Uploads uploads={uploads} />
        {error !== null ? <Problem error={error} what="bucket" onRetry={() => void again()} /> : data === undefined ? <Loading what="objects" /> : (
          <>
            <DataTable
              label="Objects"
              rows={lines}
              columns={columns}
              rowId={(line) => line.folder ?? line.object?.key ?? ''}
              rowLabel={(line) => line.name}
              view={{}}
              defaultSort=""
              onView={() => undefined}
              pageSize={1000}
              empty={<Empty title="Nothing here yet" action={uploading}>Drop files onto this page, or send them with any S3 client.</Empty>}
              bulk={(selected, clear) => <Button size="compact-xs" variant="default" onClick={() => void remove(selected, clear)}>Delete</Button>}
            />
            {(after !== undefined || data.next !== undefined) && (
              <Group justify="flex-end" gap={4} component="nav" aria-label="Pages of objects">
                <ActionIcon aria-label="First page" disabled={after === undefined} onClick={() => void navigate({ search: { prefix: prefix || undefined } })}><IconChevronsLeft size={16} aria-hidden /></ActionIcon>
                <ActionIcon aria-label="Next page" disabled={data.next === undefined} onClick={() => void navigate({ search: { prefix: prefix || undefined, after: data.next } })}><IconChevronRight size={16} aria-hidden /></ActionIcon>
              </Group>
            )}
          </>
        )}
        <ObjectDrawer ns={ns} bucket={bucket} objectKey={object} onClose={() => void navigate({ search: { prefix: prefix || undefined, after } })} />
      </Page>
    </div>
  );
}

/** Where one is, each folder a link. */
function Folders({ bucket, prefix }: { bucket: string; prefix: string }) {
  const parts = prefix.split('/').slice(0, -1);
  if (parts.length === 0) return <Text span size="sm">s3://{bucket}/</Text>;
  return (
    <nav aria-label="Folders">
      <Group gap={4}>
        <Link from="/buckets/$ns/$bucket" to="." search={{}} className="kf-link">{bucket}</Link>
        {parts.map((part, i) => {
          const whole = `${parts.slice(0, i + 1).join('/')}/`;
          return (
            <Group key={whole} gap={4}>
              <Text span size="sm" aria-hidden>/</Text>
              {i === parts.length - 1 ? <Text span size="sm" fw={500}>{part}</Text> : <Link from="/buckets/$ns/$bucket" to="." search={{ prefix: whole }} className="kf-link">{part}</Link>}
            </Group>
          );
        })}
      </Group>
    </nav>
  );
}
