// Uploads into a bucket: some at once, the rest wait; each shows how far it is and can be stopped.
import { ActionIcon, Group, Progress, Stack, Text } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { useCallback, useEffect, useRef, useState } from 'react';
import { upload } from '../api/s3';
import { plural } from '../lib/format';
import { toastDone, toastError } from './feedback';

/** Uploads in flight. */
const AT_ONCE = 3;

interface Upload {
  id: number;
  key: string;
  file: File;
  percent?: number;
}

export interface UploadList {
  items: Upload[];
  add: (files: { key: string; file: File }[]) => void;
  stop: (id: number) => void;
}

export function useUploads(ns: string, bucket: string, onDone: () => void): UploadList {
  const [items, setItems] = useState<Upload[]>([]);
  const count = useRef({ next: 0, sent: 0, open: 0 });
  const started = useRef(new Map<number, () => void>());
  const told = useRef(onDone);
  useEffect(() => {
    told.current = onDone;
  });
  const ended = useCallback((id: number) => {
    setItems((before) => before.filter((each) => each.id !== id));
    const counted = count.current;
    counted.open -= 1;
    if (counted.open === 0 && counted.sent > 0) {
      toastDone(`${plural(counted.sent, 'file')} uploaded.`);
      counted.sent = 0;
    }
    told.current();
  }, []);
  useEffect(() => {
    const room = AT_ONCE - items.filter((each) => started.current.has(each.id)).length;
    for (const { id, key, file } of items.filter((each) => !started.current.has(each.id)).slice(0, Math.max(0, room))) {
      const stop = upload(ns, bucket, key, file, {
        progress: (percent) => setItems((before) => before.map((each) => (each.id === id ? { ...each, percent } : each))),
        done: (error) => {
          if (error === undefined) count.current.sent += 1;
          else toastError(`${key} was not uploaded`, new Error(error));
          ended(id);
        },
      });
      started.current.set(id, stop);
    }
  }, [items, ns, bucket, ended]);
  return {
    items,
    add: (files) => {
      const counted = count.current;
      const fresh = files.map((each) => ({ ...each, id: (counted.next += 1) }));
      counted.open += fresh.length;
      setItems((before) => [...before, ...fresh]);
    },
    stop: (id) => {
      const stop = started.current.get(id);
      if (stop === undefined) ended(id);
      else stop();
    },
  };
}

export function Uploads({ uploads: { items, stop } }: { uploads: UploadList }) {
  if (items.length === 0) return null;
  return (
    <Stack gap={6} className="kf-card" p="sm" role="region" aria-label="Uploads">
      <Text size="sm" fw={500}>{plural(items.length, 'upload')} under way</Text>
      {items.slice(0, 10).map(({ id, key, percent }) => (
        <Group key={id} gap="sm" wrap="nowrap">
          <Text size="xs" w={240} truncate>{key}</Text>
          <Progress value={percent ?? 0} aria-label={`Upload of ${key}`} style={{ flex: 1 }} />
          <Text size="xs" w={60} ta="right">{percent === undefined ? 'Waits' : `${percent} %`}</Text>
          <ActionIcon size="sm" aria-label={`Stop the upload of ${key}`} onClick={() => stop(id)}><IconX size={14} aria-hidden /></ActionIcon>
        </Group>
      ))}
      {items.length > 10 && <Text size="xs" c="dimmed">and {items.length - 10} more</Text>}
    </Stack>
  );
}
