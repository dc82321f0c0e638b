import fc from 'fast-check';

// The same draws in every run, so that what is red is red for everybody; WHYLIGHT_SEED=N draws others.
fc.configureGlobal({ seed: Number(process.env.WHYLIGHT_SEED ?? 2019) });
