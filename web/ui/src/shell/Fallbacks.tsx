// What is shown when there is no page, or a page broke.
import { Button, Code, Group, Stack, Text, Title } from '@mantine/core';
import { useRouter, type ErrorComponentProps } from '@tanstack/react-router';
import { LinkButton } from '../components/LinkButton';

export function NotFound() {
  return (
    <Stack align="center" gap="xs" py={80} component="main">
      <Title order={1}>No such page</Title>
      <Text c="dimmed">This address leads nowhere on the box.</Text>
      <LinkButton to="/" mt="sm">Go to Home</LinkButton>
    </Stack>
  );
}

/** A chunk that cannot be loaded means the box was upgraded under an open tab: loading the page again mends it. */
export function RouteError({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const message = error instanceof Error ? error.message : String(error);
  const stale = /dynamically imported module|Importing a module script|module script failed/i.test(message);
  return (
    <Stack align="center" gap="xs" py={80} px="md" role="alert">
      <Title order={1}>{stale ? 'This page could not be fetched' : 'This page broke'}</Title>
      <Text c="dimmed" ta="center">
        {stale ? 'The box may have been restarted or upgraded. Load the page again.' : 'The rest of the box is not affected.'}
      </Text>
      <Code style={{ maxWidth: '80ch', overflowWrap: 'anywhere' }}>{message}</Code>
      <Group mt="sm">
        <Button
          onClick={() => {
            if (stale) window.location.reload();
            else {
              reset();
              void router.invalidate();
            }
          }}
        >
          {stale ? 'Load again' : 'Try again'}
        </Button>
        <LinkButton to="/" variant="default">Go to Home</LinkButton>
      </Group>
    </Stack>
  );
}
