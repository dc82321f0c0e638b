// Burns a core until it is terminated, for tests of what a stream does beside it. It comes up for air every few milliseconds: a
// worker that is terminated within a task goes on for two seconds more.
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => {
  for (const began = performance.now(); performance.now() - began < 5; );
  port2.postMessage(undefined);
};
port2.postMessage(undefined);
