"""Local training at a site: order of images, augmentation, loss, optimizer, device."""
