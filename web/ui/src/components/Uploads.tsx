// Uploads under way, shown on every page: how far each is, and how to stop it.
import { ActionIcon, Button, Group, Progress, Stack, Text } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { useSyncExternalStore } from 'react';
import { plural } from '../lib/format';
import { uploads } from './uploading';
import classes from './Uploads.module.css';

/** Lines of the panel. */
const SHOWN = 6;

export function Uploads() {
  const { sending, waiting } = useSyncExternalStore(uploads.subscribe, uploads.state);
  const all = sending.length + waiting.length;
  if (all === 0) return null;
  const shown = [...sending, ...waiting.slice(0, SHOWN - sending.length)];
  return (
    <Stack gap={6} className={classes.panel} p="sm" role="region" aria-label="Uploads">
      <Group justify="space-between">
        <Text size="sm" fw={500}>{plural(all, 'upload')} under way</Text>
        <Button size="compact-xs" variant="default" onClick={() => uploads.stopAll()}>Stop all</Button>
      </Group>
      {shown.map(({ id, bucket, key, percent }) => (
        <Group key={id} gap="sm" wrap="nowrap">
          <Text size="xs" truncate title={`${bucket}/${key}`} className={classes.name}>{bucket}/{key}</Text>
          <Progress value={percent ?? 0} aria-label={`Upload of ${key}`} style={{ flex: 1 }} />
          <Text size="xs" w={50} ta="right">{percent === undefined ? 'Waits' : `${percent} %`}</Text>
          <ActionIcon size="sm" aria-label={`Stop the upload of ${key}`} onClick={() => uploads.stop(id)}><IconX size={14} aria-hidden /></ActionIcon>
        </Group>
      ))}
      {all > shown.length && <Text size="xs" c="dimmed">and {all - shown.length} more</Text>}
    </Stack>
  );
}
