// The entry: old links first, then providers and the router.
import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import '@mantine/spotlight/styles.css';
import './app.css';
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { onLoginLost } from './api/http';
import { queryClient } from './api/queryClient';
import { ConfirmProvider } from './components/feedback';
import { fromOldHash } from './lib/oldLinks';
import { router } from './router';
import { cssVariables, theme } from './theme';

const followOldLink = () => {
  const target = fromOldHash(window.location.hash, window.location.search);
  if (target === undefined) return;
  window.history.replaceState(null, '', target);
  void router.load();
};
const old = fromOldHash(window.location.hash, window.location.search);
if (old !== undefined) window.history.replaceState(null, '', old);
window.addEventListener('hashchange', followOldLink);

onLoginLost(() => {
  const { pathname, href } = router.state.location;
  if (pathname === '/login') return;
  queryClient.removeQueries({ queryKey: ['whoami'] });
  void router.navigate({ to: '/login', search: { next: href === '/' ? undefined : href } });
});

const container = document.getElementById('root');
if (container === null) throw new Error('index.html has no #root');
createRoot(container).render(
  <StrictMode>
    <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto">
      <QueryClientProvider client={queryClient}>
        <ConfirmProvider>
          <Notifications position="bottom-right" containerWidth={380} />
          <RouterProvider router={router} />
        </ConfirmProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
