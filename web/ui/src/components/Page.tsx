// The frame of every page: breadcrumb, title, one sentence, actions; and the states a page can be in besides shown.
import { Anchor, Button, Code, Group, Loader, Stack, Text, Title } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { IconAlertTriangle, IconMoodEmpty } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { ApiError } from '../api/http';

export interface Crumb {
  label: string;
  to: string;
}

interface PageProps {
  title: ReactNode;
  /** For the browser's tab; the title itself when that is text. */
  tab?: string;
  crumbs?: Crumb[];
  subtitle?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** The page fills the window's height and scrolls inside (graphs, logs). */
  full?: boolean;
}

export function Page({ title, tab, crumbs, subtitle, actions, children, full = false }: PageProps) {
  useDocumentTitle(`${tab ?? (typeof title === 'string' ? title : 'kfbox')} · kfbox`);
  return (
    <Stack gap="md" p={{ base: 'sm', sm: 'lg' }} pb="lg" style={full ? { minHeight: 'calc(100dvh - var(--app-shell-header-height))' } : undefined}>
      <Group justify="space-between" align="flex-start" gap="sm" wrap="wrap">
        <Stack gap={2} style={{ minWidth: 0, flex: '1 1 320px' }}>
          {crumbs !== undefined && (
            <nav aria-label="Breadcrumb">
              <Group gap={6} component="ol" style={{ listStyle: 'none', margin: 0, padding: 0 }}>
                {crumbs.map((crumb) => (
                  <li key={crumb.to}>
                    <Link to={crumb.to} className="kf-link">
                      <Text span size="sm">{crumb.label}</Text>
                    </Link>
                    <Text span size="sm" c="dimmed" ml={6} aria-hidden>/</Text>
                  </li>
                ))}
              </Group>
            </nav>
          )}
          <Title order={1} style={{ overflowWrap: 'anywhere' }}>{title}</Title>
          {subtitle !== undefined && <Text component="div" size="sm" c="dimmed">{subtitle}</Text>}
        </Stack>
        {actions !== undefined && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <Group gap="sm" p="lg" role="status">
      <Loader size="sm" />
      <Text c="dimmed" size="sm">Loading {what}…</Text>
    </Group>
  );
}

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Stack align="center" gap="xs" py={48} px="md">
      <IconMoodEmpty size={30} stroke={1.3} aria-hidden style={{ color: 'var(--mantine-color-dimmed)' }} />
      <Text fw={600}>{title}</Text>
      {children !== undefined && <Text component="div" c="dimmed" size="sm" maw={520} ta="center">{children}</Text>}
      {action !== undefined && <Group mt="xs" gap="xs">{action}</Group>}
    </Stack>
  );
}

/** An error a person can act on: what happened, the server's own words, a way on. */
export function Problem({ error, what, onRetry }: { error: Error; what: string; onRetry?: () => void }) {
  const missing = error instanceof ApiError && error.status === 404;
  return (
    <Stack align="center" gap="xs" py={48} px="md" role="alert">
      <IconAlertTriangle size={30} stroke={1.3} aria-hidden style={{ color: 'var(--kf-wait)' }} />
      <Text fw={600}>{missing ? `There is no such ${what}.` : `The ${what} could not be loaded.`}</Text>
      <Text c="dimmed" size="sm" ta="center" maw={640} style={{ overflowWrap: 'anywhere' }}>
        {missing ? 'It may have been deleted, or the link is from another box.' : error.message}
      </Text>
      {missing && <Code>{error.message}</Code>}
      <Group mt="xs">
        {onRetry !== undefined && !missing && <Button variant="default" onClick={onRetry}>Try again</Button>}
        <Anchor component={Link} to="/" size="sm">Go to Home</Anchor>
      </Group>
    </Stack>
  );
}
