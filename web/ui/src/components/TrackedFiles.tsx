// The files of a tracked run, folder by folder; a file opens where all objects are looked at.
import { Anchor, Code, Group, Table, Text } from '@mantine/core';
import { IconFile, IconFolder } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { mlflow } from '../api/mlflow';
import { bytes } from '../lib/format';
import { placeOf, type TrackedRun } from '../lib/tracking';
import { CopyButton } from './CopyAs';
import { Empty, Loading, Problem } from './Page';

export function TrackedFiles({ ns, run, every }: { ns: string; run: TrackedRun; every: number | false }) {
  const [path, setPath] = useState('');
  const { data, error, refetch } = useQuery({
    queryKey: ['tracked-files', ns, run.info.run_id, path],
    queryFn: ({ signal }) => mlflow.files(ns, run.info.run_id, path, signal),
    refetchInterval: every,
  });
  const place = placeOf(ns, run.info.artifact_uri);
  const uri = place === undefined ? run.info.artifact_uri : `s3://${place.bucket}/${place.prefix}${path}`;
  const parts = path === '' ? [] : path.split('/');
  return (
    <section aria-label="Files" className="kf-card" style={{ padding: 12 }}>
      <Group gap={4} mb="sm" wrap="nowrap">
        <Code style={{ overflowWrap: 'anywhere' }}>{uri}</Code>
        <CopyButton text={uri} label="Copy the URI" />
      </Group>
      {parts.length > 0 && (
        <Group component="nav" aria-label="Folders" gap={4} mb="xs">
          <Anchor component="button" type="button" size="sm" onClick={() => setPath('')}>All files</Anchor>
          {parts.map((part, i) => (
            <Group key={parts.slice(0, i + 1).join('/')} gap={4}>
              <Text span size="sm" aria-hidden>/</Text>
              {i === parts.length - 1 ? <Text span size="sm" fw={500}>{part}</Text> : <Anchor component="button" type="button" size="sm" onClick={() => setPath(parts.slice(0, i + 1).join('/'))}>{part}</Anchor>}
            </Group>
          ))}
        </Group>
      )}
      {error !== null ? <Problem error={error} what="list of files" onRetry={() => void refetch()} /> : data === undefined ? <Loading what="files" /> : data.length === 0 ? (
        <Empty title="No files">In Python: <code>mlflow.log_artifact(&quot;plot.png&quot;)</code>.</Empty>
      ) : (
        <Table verticalSpacing={4} aria-label="Files of the run">
          <Table.Thead><Table.Tr><Table.Th>Name</Table.Th><Table.Th ta="right">Size</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {data.map((file) => {
              const name = file.path.split('/').pop() ?? file.path;
              const folder = place === undefined ? '' : `${place.prefix}${path === '' ? '' : `${path}/`}`;
              return (
                <Table.Tr key={file.path}>
                  <Table.Td>
                    <Group gap={6} wrap="nowrap">
                      {file.is_dir ? <IconFolder size={15} aria-hidden /> : <IconFile size={15} aria-hidden />}
                      {file.is_dir ? (
                        <Anchor component="button" type="button" size="sm" onClick={() => setPath(file.path)}>{name}/</Anchor>
                      ) : place === undefined ? name : (
                        <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: place.bucket }} search={{ prefix: folder, object: folder + name }} className="kf-link">{name}</Link>
                      )}
                    </Group>
                  </Table.Td>
                  <Table.Td ta="right">{file.file_size === undefined ? '' : bytes(file.file_size)}</Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      )}
    </section>
  );
}
