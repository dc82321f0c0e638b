import { MessageChannel } from 'node:worker_threads';
import { type Endpoint, expose, wrap } from 'comlink';
import { afterAll, expect, test } from 'vitest';
import { UnsupportedOperatorError, WhylightError } from '../../sdk/errors.js';
import { keepErrorClasses } from '../../sdk/wire-errors.js';

const { port1, port2 } = new MessageChannel();
afterAll(() => {
  port1.close();
  port2.close();
});

/** Node's ports as the browser's. */
const endpoint = (port: typeof port1): Endpoint => ({
  postMessage: (message, transfer) => port.postMessage(message, (transfer ?? []) as never),
  addEventListener: (_, listener) =>
    port.on('message', (data) =>
      typeof listener === 'function'
        ? listener({ data } as MessageEvent)
        : listener.handleEvent({ data } as MessageEvent),
    ),
  removeEventListener: () => undefined,
  start: () => port.start(),
});

const thrower = {
  own(): never {
    throw new UnsupportedOperatorError('conv_7', 'Foo', 'it has no rule.');
  },
  coded(): never {
    throw new WhylightError('MODEL_SHAPE', 'It does not fit.', { details: { node: 'a' }, cause: new Error('why') });
  },
  foreign(): never {
    throw new TypeError('not ours');
  },
};

test('an error keeps its class, code, details and cause on the other side', async () => {
  keepErrorClasses();
  keepErrorClasses();
  expose(thrower, endpoint(port1));
  const remote = wrap<typeof thrower>(endpoint(port2));
  const caught = (promise: Promise<never>): Promise<unknown> => promise.catch((error: unknown) => error);
  const own = await caught(remote.own());
  expect(own).toBeInstanceOf(UnsupportedOperatorError);
  expect(own).toMatchObject({ code: 'UNSUPPORTED_OPERATOR', details: { node: 'conv_7', operator: 'Foo' } });
  const coded = await caught(remote.coded());
  expect(coded).toBeInstanceOf(WhylightError);
  expect(coded).toMatchObject({ code: 'MODEL_SHAPE', details: { node: 'a' }, cause: 'Error: why' });
  // what Comlink does with other errors is left as it is
  expect(await caught(remote.foreign())).toMatchObject({ name: 'TypeError', message: 'not ours' });
});
