// The frame around every page: rail, top bar, banner while the box is away, uploads under way.
import { ActionIcon, AppShell, Burger, Group, Kbd, Menu, NavLink, Text, Tooltip, UnstyledButton, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconBook2,
  IconBox,
  IconBucket,
  IconChartLine,
  IconDatabase,
  IconFlask,
  IconHome,
  IconLogout,
  IconMoon,
  IconNotebook,
  IconPlayerPlay,
  IconSearch,
  IconSitemap,
  IconStack2,
  IconSun,
  IconUserCircle,
  IconVersions,
  IconWifiOff,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useState } from 'react';
import { logout, whoAmI } from '../api/kfp';
import { queryClient } from '../api/queryClient';
import { useReconnecting } from '../api/watch';
import { toastError } from '../components/feedback';
import { uploads } from '../components/uploading';
import { Uploads } from '../components/Uploads';
import { NamespacePicker } from './NamespacePicker';
import classes from './Shell.module.css';
import { patient } from '../lib/chunk';

const Finder = lazy(patient(() => import('./Finder')));

const places = [
  { to: '/', label: 'Home', icon: IconHome },
  { to: '/notebooks', label: 'Notebooks', icon: IconNotebook },
  { to: '/pipelines', label: 'Pipelines', icon: IconSitemap },
  { to: '/runs', label: 'Runs', icon: IconPlayerPlay, child: true },
  { to: '/experiments', label: 'Experiments', icon: IconFlask, child: true },
  { to: '/jobs', label: 'Jobs', icon: IconStack2 },
  { to: '/tracking', label: 'Tracking', icon: IconChartLine },
  { to: '/models', label: 'Models', icon: IconBox },
  { to: '/volumes', label: 'Volumes', icon: IconDatabase },
  { to: '/buckets', label: 'Buckets', icon: IconBucket },
  { to: '/datasets', label: 'Data sets', icon: IconVersions, child: true },
  { to: '/docs', label: 'Docs', icon: IconBook2 },
] as const;

export function Shell() {
  const [menuOpen, { toggle, close }] = useDisclosure(false);
  const pathname = useRouterState({ select: (state) => state.location.pathname });
  const [finder, setFinder] = useState(0);

  useEffect(() => close(), [pathname, close]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'k') return;
      event.preventDefault();
      setFinder((times) => times + 1);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);

  return (
    <AppShell
      header={{ height: 48 }}
      navbar={{ width: 196, breakpoint: 'sm', collapsed: { mobile: !menuOpen } }}
      padding={0}
    >
      <a href="#main" className="kf-skip">Skip to the content</a>
      <AppShell.Header className={classes.header}>
        <Group h="100%" px="sm" gap="sm" wrap="nowrap" justify="space-between">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={menuOpen} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={menuOpen ? 'Close the menu' : 'Open the menu'} />
            <Link to="/" className={classes.brand} aria-label="kfbox, Home">
              <img src="/favicon.svg" alt="" width={22} height={22} />
              <span>kfbox</span>
            </Link>
            <NamespacePicker />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <UnstyledButton className={classes.search} onClick={() => setFinder((times) => times + 1)} aria-label="Find runs, pipelines and actions" aria-keyshortcuts="Control+K">
              <IconSearch size={15} aria-hidden />
              <Text span size="sm" visibleFrom="xs">Find…</Text>
              <Kbd size="xs" visibleFrom="sm">Ctrl K</Kbd>
            </UnstyledButton>
            <SchemeToggle />
            <UserMenu />
          </Group>
        </Group>
      </AppShell.Header>

      <AppShell.Navbar className={classes.rail} aria-label="Places">
        {places.map(({ to, label, icon: Icon, ...rest }) => {
          const active = to === '/' ? pathname === '/' : pathname === to || pathname.startsWith(`${to}/`);
          return (
            <NavLink
              key={to}
              component={Link}
              to={to}
              label={label}
              leftSection={<Icon size={17} stroke={1.6} aria-hidden />}
              active={active}
              aria-current={active ? 'page' : undefined}
              className={classes.place}
              data-child={'child' in rest || undefined}
            />
          );
        })}
      </AppShell.Navbar>

      <AppShell.Main id="main" tabIndex={-1} className={classes.main}>
        <ReconnectingBanner />
        <Outlet />
        <Uploads />
      </AppShell.Main>
      {finder > 0 && (
        <Suspense fallback={null}>
          <Finder openings={finder} />
        </Suspense>
      )}
    </AppShell>
  );
}

function SchemeToggle() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false });
  const next = scheme === 'dark' ? 'light' : 'dark';
  return (
    <Tooltip label={`Use ${next} colours`}>
      <ActionIcon size="lg" aria-label={`Use ${next} colours`} onClick={() => setColorScheme(next)}>
        {scheme === 'dark' ? <IconSun size={18} stroke={1.6} aria-hidden /> : <IconMoon size={18} stroke={1.6} aria-hidden />}
      </ActionIcon>
    </Tooltip>
  );
}

function UserMenu() {
  const navigate = useNavigate();
  const { data: name } = useQuery({ queryKey: ['whoami'], queryFn: whoAmI, staleTime: Infinity });
  const leave = async () => {
    try {
      await logout();
    } catch (error) {
      toastError('Logging out failed', error);
      return;
    }
    uploads.stopAll();
    queryClient.clear();
    await navigate({ to: '/login', search: { next: undefined } });
  };
  return (
    <Menu position="bottom-end" width={180}>
      <Menu.Target>
        <ActionIcon size="lg" aria-label={`User menu${name === undefined ? '' : ` of ${name}`}`}>
          <IconUserCircle size={20} stroke={1.6} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Signed in as {name ?? '…'}</Menu.Label>
        <Menu.Item leftSection={<IconLogout size={15} aria-hidden />} onClick={() => void leave()}>Log out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function ReconnectingBanner() {
  const reconnecting = useReconnecting();
  return (
    <div role="status" aria-live="polite">
      {reconnecting && (
        <div className={classes.banner}>
          <IconWifiOff size={15} aria-hidden />
          The box does not answer. Reconnecting… What is shown may be out of date.
        </div>
      )}
    </div>
  );
}
