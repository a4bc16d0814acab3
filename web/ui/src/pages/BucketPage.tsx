// A bucket as folders: objects in pages, uploads by button or drag, preview, download, delete.
import { ActionIcon, Button, Group, Text } from '@mantine/core';
import { IconChevronLeft, IconChevronRight, IconChevronsLeft, IconFile, IconFolder } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type DragEvent } from 'react';
import { forget, s3 } from '../api/s3';
import { DataTable, type Column } from '../components/DataTable';
import { attempt, toastError, useConfirm } from '../components/feedback';
import { ObjectDrawer } from '../components/ObjectDrawer';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { UploadButtons } from '../components/UploadButtons';
import { uploads } from '../components/uploading';
import { dropped, type FoundFile } from '../lib/dropped';
import { bytes, plural } from '../lib/format';
import { visible, type S3Object } from '../lib/s3';

const route = getRouteApi('/app/buckets/$ns/$bucket');

/** A line of the list: a folder, by its whole prefix, or an object. */
interface Line {
  name: string;
  folder?: string;
  object?: S3Object;
}

/** Which token a page was reached from: tokens lead forwards only. */
const cameFrom = new Map<string, string | undefined>();

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
  const send = (found: FoundFile[]) => uploads.add(found.map(({ path, file }) => ({ ns, bucket, key: prefix + path, file })));
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    try {
      const found = await dropped(event.dataTransfer);
      if (found.length === 0) throw new Error('There is no file in it.');
      send(found);
    } catch (error) {
      toastError('Nothing was uploaded', error);
    }
  };

  const remove = async (lines: Line[], clear: () => void) => {
    const folders = lines.flatMap((line) => line.folder ?? []);
    const keys = lines.flatMap((line) => line.object?.key ?? []);
    try {
      keys.push(...(await Promise.all(folders.map((folder) => s3.below(ns, bucket, folder)))).flat());
    } catch (error) {
      toastError('The folders could not be looked through: nothing is deleted', error);
      return;
    }
    if (!(await confirm({ title: `Delete ${plural(keys.length, 'object')}?`, body: 'In a bucket without versions they are gone for good.', confirm: 'Delete' }))) return;
    await attempt(() => s3.remove(ns, bucket, keys), `${plural(keys.length, 'object')} deleted.`, 'Not everything could be deleted');
    clear();
    await Promise.all([again(), forget(ns, bucket, keys)]);
  };

  const lines: Line[] = [
    ...(data?.folders ?? []).map((folder) => ({ name: visible(folder.slice(prefix.length)), folder })),
    ...(data?.objects ?? []).filter((each) => each.key !== prefix).map((each) => ({ name: visible(each.key.slice(prefix.length)), object: each })),
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
  const uploading = <UploadButtons onFound={send} />;
  const page = (token: string | undefined) => void navigate({ search: { prefix: prefix || undefined, after: token } });
  const forward = (next: string) => {
    cameFrom.set(next, after);
    page(next);
  };
  return (
    <div onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(event) => void drop(event)} data-over={over || undefined} style={over ? { outline: '2px dashed var(--mantine-primary-color-filled)', outlineOffset: -6 } : undefined}>
      <Page title={bucket} tab={`${bucket}/${prefix}`} crumbs={crumbs} subtitle={<Folders bucket={bucket} prefix={prefix} />} actions={uploading}>
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
                <ActionIcon aria-label="First page" disabled={after === undefined} onClick={() => page(undefined)}><IconChevronsLeft size={16} aria-hidden /></ActionIcon>
                <ActionIcon aria-label="Previous page" disabled={after === undefined || !cameFrom.has(after)} onClick={() => page(after === undefined ? undefined : cameFrom.get(after))}><IconChevronLeft size={16} aria-hidden /></ActionIcon>
                <ActionIcon aria-label="Next page" disabled={data.next === undefined} onClick={() => data.next !== undefined && forward(data.next)}><IconChevronRight size={16} aria-hidden /></ActionIcon>
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
              {i === parts.length - 1 ? <Text span size="sm" fw={500}>{visible(part)}</Text> : <Link from="/buckets/$ns/$bucket" to="." search={{ prefix: whole }} className="kf-link">{visible(part)}</Link>}
            </Group>
          );
        })}
      </Group>
    </nav>
  );
}
