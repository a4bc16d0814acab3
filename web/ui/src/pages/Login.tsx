// Logging in: by the one-time link (the token rides in the fragment, which no server sees) or by pasting a token.
import { Button, Code, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { useCallback, useEffect, useRef, useState, type FormEvent } from 'react';
import { ApiError } from '../api/http';
import { login } from '../api/kfp';
import { queryClient } from '../api/queryClient';
import { ErrorNote } from '../components/ErrorNote';
import { Loading } from '../components/Page';

const route = getRouteApi('/login');

/** Only paths of this box: a link must not be able to send someone elsewhere after login. */
const safeNext = (next: string | undefined) => (next !== undefined && /^\/(?![/\\])/.test(next) ? next : '/');

function takeToken(): string | undefined {
  const match = /^#token=(.+)$/.exec(window.location.hash);
  if (match?.[1] === undefined) return undefined;
  window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search);
  return decodeURIComponent(match[1]);
}

export function Login() {
  useDocumentTitle('Log in · kfbox');
  const { next } = route.useSearch();
  const router = useRouter();
  const [token, setToken] = useState('');
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const [byLink] = useState(takeToken);
  const tried = useRef(false);

  const enter = useCallback(
    async (secret: string, fromLink: boolean) => {
      setBusy(true);
      setError(undefined);
      try {
        await login(secret);
        queryClient.clear();
        const to = safeNext(next);
        // A notebook is no page of this app.
        if (to.startsWith('/notebook/')) window.location.replace(to);
        else await router.navigate({ href: to, replace: true });
      } catch (cause) {
        setError(explain(cause, fromLink));
      } finally {
        setBusy(false);
      }
    },
    [next, router],
  );

  useEffect(() => {
    if (byLink === undefined || tried.current) return;
    tried.current = true;
    void enter(byLink, true);
  }, [byLink, enter]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const secret = token.trim().replace(/^.*#token=/, '');
    if (secret === '') setError('Paste a token first.');
    else void enter(secret, false);
  };

  return (
    <Stack component="main" align="center" justify="center" mih="100dvh" p="md" gap="lg">
      <Stack align="center" gap={6}>
        <img src="/favicon.svg" alt="" width={44} height={44} />
        <Title order={1}>Log in to kfbox</Title>
      </Stack>
      <Paper withBorder p="lg" w="100%" maw={400} radius="md" style={{ background: 'var(--kf-surface)', borderColor: 'var(--kf-line)' }}>
        {busy && byLink !== undefined && error === undefined ? (
          <Loading what="your session" />
        ) : (
          <form onSubmit={submit} noValidate>
            <Stack gap="sm">
              {error !== undefined && (
                <ErrorNote>
                  {error}
                </ErrorNote>
              )}
              <PasswordInput
                label="Token"
                name="token"
                autoComplete="current-password"
                value={token}
                onChange={(event) => setToken(event.currentTarget.value)}
                data-autofocus
                visibilityToggleButtonProps={{ 'aria-label': 'Show the token' }}
              />
              <Button type="submit" size="sm" loading={busy} fullWidth>Log in</Button>
              <Text size="sm" c="dimmed">
                On the machine that runs the box, <Code>kfbox token login</Code> prints a one-time link. Open it, or paste
                it or an API token here.
              </Text>
            </Stack>
          </form>
        )}
      </Paper>
    </Stack>
  );
}

function explain(cause: unknown, fromLink: boolean): string {
  if (!(cause instanceof ApiError)) return cause instanceof Error ? cause.message : 'Logging in failed.';
  if (cause.status !== 401) return cause.message;
  return fromLink
    ? 'This login link was used already or has run out. Make a new one with kfbox token login.'
    : 'The box does not know this token. A login token works once and for a short time; make a new one with kfbox token login.';
}
