// The server's words on what went wrong, inside a form.
import { Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import classes from './ErrorNote.module.css';

export function ErrorNote({ title, children }: { title?: string; children: ReactNode }) {
  return (
    <div className={classes.note} role="alert">
      <IconAlertCircle size={17} stroke={1.8} aria-hidden style={{ flex: 'none', marginTop: 1 }} />
      <Text component="div" size="sm" style={{ overflowWrap: 'anywhere' }}>
        {title !== undefined && <Text fw={600} size="sm">{title}</Text>}
        {children}
      </Text>
    </div>
  );
}
