package pipeline

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"reflect"
)

func encodeImage(v reflect.Value) (content, error) {
	if v.IsNil() {
		return content{}, errors.New("the image is nil")
	}
	var b bytes.Buffer
	if err := png.Encode(&b, v.Interface().(image.Image)); err != nil {
		return content{}, err
	}
	return content{inline: b.Bytes()}, nil
}

func decodeImage(c content, v reflect.Value, _ func() (string, error)) error {
	data, err := c.bytes()
	if err != nil {
		return err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(&img).Elem())
	return nil
}
