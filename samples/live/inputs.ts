import { camera, type FrameSource, images, screen, videoFile } from '../../sdk/index.js';
import type { Input } from './settings.js';

const beside = (path: string) => new URL(path, document.baseURI).href;

const ffmpeg = { coreURL: beside('ffmpeg/ffmpeg-core.js'), workerURL: beside('ffmpeg/worker.js') };

/** Opens what the person chose; throws a WhylightError that says why it cannot be opened. */
export async function openInput(input: Input): Promise<FrameSource> {
  switch (input.kind) {
    case 'clip':
      return videoFile(beside('media/glyphs.mp4'));
    case 'camera':
      return camera();
    case 'screen':
      return screen();
    case 'files': {
      const pictures = input.files.filter((file) => file.type.startsWith('image/'));
      return pictures.length === input.files.length ? images(pictures) : videoFile(input.files[0]!, { ffmpeg });
    }
  }
}
